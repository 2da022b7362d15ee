package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"dyups/bench/poll"
	"dyups/bench/proc"
	"dyups/bench/result"

	"golang.org/x/sys/unix"
)

// meterEvery is the time between two readings. One takes about 0.2 ms of the load core: see BenchmarkReading.
const meterEvery = 100 * time.Millisecond

// reading is what all that takes part in a round has used so far.
type reading struct {
	at           int64   // poll.Now, ns
	cpu          float64 // CPU time of the proxy's tree, µs
	user, system float64 // its parts, in whole ticks of 10 ms: their ratio alone is used
	switches     float64 // context switches of its threads, also of those that have ended
	instructions float64
	rss          int64         // bytes
	others       float64       // CPU time, µs, of load, origins and the bench itself
	cores        [2][3]float64 // proxy core, load core: busy, idle and steal, µs
}

// meter takes readings of one proxy and its surroundings in the course of a round. What belongs to the measured part is
// found afterwards: the load generator tells when that began, and a reading at that moment is interpolated between two
// that were taken. So what is divided by the requests of the measured part was used in the measured part.
type meter struct {
	proxy        int   // leader of the tree
	others       []int // load, origins and this process
	cores        [2]int
	instructions *proc.Instructions // nil: not counted here
	switches     tally              // of the tree, by thread
	readings     []reading
	err          error
	stop, done   chan struct{}
}

// startMeter takes the first reading and begins to take more.
func startMeter(proxy int, others []int, cores [2]int, count bool) (*meter, error) {
	m := &meter{proxy: proxy, others: others, cores: cores, stop: make(chan struct{}), done: make(chan struct{})}
	if count {
		var err error
		if m.instructions, err = proc.CountInstructions(proxy); err != nil {
			return nil, err
		}
	}
	if m.read(); m.err != nil {
		m.close()
		return nil, m.err
	}
	go m.run()
	return m, nil
}

func (m *meter) run() {
	defer close(m.done)
	t := time.NewTicker(meterEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			m.read()
		case <-m.stop:
			return
		}
	}
}

// finish takes the last reading and ends the meter.
func (m *meter) finish() error {
	close(m.stop)
	<-m.done
	m.read()
	m.close()
	return m.err
}

func (m *meter) close() {
	if m.instructions != nil {
		m.instructions.Close()
	}
}

// read takes a reading. The first error is kept and is the last thing to happen.
func (m *meter) read() {
	if m.err != nil {
		return
	}
	var r reading
	var times []proc.CoreTime
	before := poll.Now()
	if m.err = r.tree(m.proxy, &m.switches); m.err != nil {
		return
	}
	for _, pid := range m.others {
		t, err := processTime(pid)
		if err != nil {
			m.err = err
			return
		}
		r.others += t
	}
	if m.instructions != nil {
		n, err := m.instructions.Total()
		if err != nil {
			m.err = err
			return
		}
		r.instructions = float64(n)
	}
	if times, m.err = proc.ReadCoreTimes(m.cores[:]...); m.err != nil {
		return
	}
	for i, t := range times {
		r.cores[i] = [3]float64{micros(t.Busy), micros(t.Idle), micros(t.Steal)}
	}
	r.at = before + (poll.Now()-before)/2
	m.readings = append(m.readings, r)
}

// at is a reading at one moment, between the two nearest ones that were taken.
func (m *meter) at(now int64) reading {
	rs := m.readings
	if now <= rs[0].at {
		return rs[0]
	}
	for i := 1; i < len(rs); i++ {
		if a, b := &rs[i-1], &rs[i]; now <= b.at {
			return between(a, b, float64(now-a.at)/float64(b.at-a.at))
		}
	}
	return rs[len(rs)-1]
}

// between is the reading a share of the way from a to b.
func between(a, b *reading, share float64) reading {
	mix := func(x, y float64) float64 { return x + share*(y-x) }
	r := reading{
		at:  a.at + int64(share*float64(b.at-a.at)),
		cpu: mix(a.cpu, b.cpu), user: mix(a.user, b.user), system: mix(a.system, b.system), others: mix(a.others, b.others),
		switches: mix(a.switches, b.switches), instructions: mix(a.instructions, b.instructions),
		rss: int64(mix(float64(a.rss), float64(b.rss))),
	}
	for i := range r.cores {
		for k := range r.cores[i] {
			r.cores[i][k] = mix(a.cores[i][k], b.cores[i][k])
		}
	}
	return r
}

// memory is the resident memory over time, from a moment on.
func (m *meter) memory(start int64) []result.Reading {
	var out []result.Reading
	for _, r := range m.readings {
		if r.at >= start {
			out = append(out, result.Reading{At: float64(r.at-start) / 1e9, Bytes: r.rss})
		}
	}
	return out
}

// peak is the most memory that a reading saw: processes that have ended are in no sum of peaks that is taken afterwards.
func (m *meter) peak() int64 {
	most := int64(0)
	for i := range m.readings {
		most = max(most, m.readings[i].rss)
	}
	return most
}

// use compares two readings of a core; own is the CPU time, µs, of those that belong there.
func use(before, after [3]float64, own float64) result.CoreUse {
	core := func(v [3]float64) proc.CoreTime {
		return proc.CoreTime{Busy: time.Duration(v[0] * 1e3), Idle: time.Duration(v[1] * 1e3), Steal: time.Duration(v[2] * 1e3)}
	}
	u := proc.UseOf(core(before), core(after), time.Duration(own*1e3))
	return result.CoreUse{Busy: u.Busy, Steal: u.Steal, Foreign: u.Foreign}
}

// split divides CPU time between two readings into user and system time, as the ticks in between were. Without a tick it is
// all system time.
func split(before, after *reading) (user, system float64) {
	total := after.cpu - before.cpu
	u, s := after.user-before.user, after.system-before.system
	if u+s > 0 {
		user = total * u / (u + s)
	}
	return user, total - user
}

// tree adds up a process tree. It costs a tenth of proc.TreeUsage, because it looks at no other processes, and its CPU time
// is exact to the nanosecond for processes that live, where /proc/PID/stat has ticks of 10 ms. The kernel forgets the switches of
// a thread that ends, so all adds up what the readings of one meter saw of each.
func (r *reading) tree(root int, all *tally) error {
	todo := []int{root}
	for i := 0; i < len(todo); i++ {
		pid := todo[i]
		f, err := statFields(pid)
		var exact float64
		if err == nil {
			exact, err = processTime(pid)
		}
		if err != nil {
			if pid == root {
				return fmt.Errorf("cannot measure process %d: %w", pid, err)
			}
			continue // it has ended
		}
		// f[0] is field 3 of proc(5): utime 14, stime 15, cutime 16, cstime 17, rss 24.
		const tick = 10_000 // µs
		r.cpu += exact + tick*(f[13]+f[14])
		r.user += tick * (f[11] + f[13])
		r.system += tick * (f[12] + f[14])
		r.rss += int64(f[21]) * int64(os.Getpagesize())
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*", pid))
		for _, task := range tasks {
			if id, err := strconv.Atoi(filepath.Base(task)); err == nil {
				all.add(id, switches(task))
			}
			todo = append(todo, numbers(task+"/children")...)
		}
	}
	r.switches = all.end()
	return nil
}

// tally adds up a figure that grows in each of many threads, and keeps what those had that have ended. The zero value is empty.
type tally struct {
	last, next map[int]float64 // by thread: in the reading before, in this one
	sum        float64
}

// add takes what a thread has in this reading. With less than before, it is another one with the same number.
func (t *tally) add(thread int, n float64) {
	if t.next == nil {
		t.last, t.next = make(map[int]float64), make(map[int]float64)
	}
	was := t.last[thread]
	if n < was {
		was = 0
	}
	t.sum += n - was
	t.next[thread] = n
}

// end ends a reading and returns the sum, which never gets less.
func (t *tally) end() float64 {
	t.last, t.next = t.next, t.last
	clear(t.next)
	return t.sum
}

// statFields are the numbers in /proc/PID/stat behind the state, which is the zeroth here.
func statFields(pid int) ([22]float64, error) {
	var f [22]float64
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return f, err
	}
	words := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(words) < len(f) {
		return f, fmt.Errorf("cannot parse process status %q", b)
	}
	for i := 1; i < len(f); i++ {
		if f[i], err = strconv.ParseFloat(string(words[i]), 64); err != nil {
			return f, fmt.Errorf("cannot parse process status %q: %w", b, err)
		}
	}
	return f, nil
}

// processTime is the CPU time of all threads of a living process, in µs. The clock is the one that
// clock_getcpuclockid(3) gives; clock_getres(2) describes how its number is made of the process id.
func processTime(pid int) (float64, error) {
	const sched = 2 // CPUCLOCK_SCHED
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &t); err != nil {
		return 0, fmt.Errorf("cannot read the CPU time of process %d: %w", pid, err)
	}
	return float64(t.Nano()) / 1e3, nil
}

// switches are the context switches of one thread, voluntary and not.
func switches(task string) (n float64) {
	b, err := os.ReadFile(task + "/status")
	if err != nil {
		return 0
	}
	for _, key := range []string{"\nvoluntary_ctxt_switches:", "\nnonvoluntary_ctxt_switches:"} {
		if i := bytes.Index(b, []byte(key)); i >= 0 {
			line, _, _ := bytes.Cut(b[i+len(key):], []byte("\n"))
			v, _ := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
			n += float64(v)
		}
	}
	return n
}

// numbers reads the process ids in a file.
func numbers(file string) []int {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var ids []int
	for _, f := range bytes.Fields(b) {
		if n, err := strconv.Atoi(string(f)); err == nil {
			ids = append(ids, n)
		}
	}
	return ids
}

// micros is a duration in microseconds.
func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
