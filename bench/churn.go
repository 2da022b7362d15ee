package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/valyala/fasthttp"
)

// ChurnSample is what the client that sends upstream updates saw in one round.
type ChurnSample struct {
	Sent         int64   `json:"sent"`          // updates sent
	Failed       int64   `json:"failed"`        // of these, not answered with status 200
	FirstFailure string  `json:"first_failure"` // what was answered instead, "" without failures
	PerSecond    float64 `json:"per_second"`    // updates sent a second; less than asked for when answers were late
	P50us        float64 `json:"p50_us"`        // from sending an update to its answer, µs
	P99us        float64 `json:"p99_us"`
	MaxUs        float64 `json:"max_us"`
}

// updater sends upstream updates to a dyups interface, one after another on one keep-alive connection.
type updater struct {
	client *fasthttp.HostClient
	url    string
	bodies [2]string // sent in turn; the first is what the configuration file says
}

func newUpdater(addr, upstream string, bodies [2]string) *updater {
	return &updater{
		client: &fasthttp.HostClient{Addr: addr, MaxConns: 1, MaxIdleConnDuration: time.Hour},
		url:    "http://" + addr + "/upstream/" + upstream,
		bodies: bodies,
	}
}

// post sends one update and waits for its answer, five seconds at most.
func (u *updater) post(body string) error {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.Header.SetMethod(fasthttp.MethodPost)
	req.SetRequestURI(u.url)
	req.SetBodyString(body)
	if err := u.client.DoTimeout(req, resp, 5*time.Second); err != nil {
		return fmt.Errorf("cannot post an update: %w", err)
	}
	if resp.StatusCode() != fasthttp.StatusOK {
		return fmt.Errorf("cannot post an update: status %d: %.200q", resp.StatusCode(), resp.Body())
	}
	return nil
}

// run sends perSecond updates a second until ctx ends, then the first body again, so that the next round starts from
// what the file says. The times of sending are fixed in advance: after a late answer the rest follow at once.
func (u *updater) run(ctx context.Context, perSecond int) ChurnSample {
	var s ChurnSample
	var took []time.Duration
	note := func(err error) {
		if err == nil {
			return
		}
		if s.Failed++; s.FirstFailure == "" {
			s.FirstFailure = err.Error()
		}
	}
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		due := start.Add(time.Duration(float64(s.Sent) / float64(perSecond) * float64(time.Second)))
		if wait := time.Until(due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				continue
			}
		}
		s.Sent++
		sent := time.Now()
		err := u.post(u.bodies[s.Sent%2])
		took = append(took, time.Since(sent))
		note(err)
	}
	s.PerSecond = float64(s.Sent) / time.Since(start).Seconds()
	note(u.post(u.bodies[0]))
	slices.Sort(took)
	s.P50us, s.P99us, s.MaxUs = micros(quantile(took, 0.5)), micros(quantile(took, 0.99)), micros(quantile(took, 1))
	return s
}

// micros is a duration in microseconds.
func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
