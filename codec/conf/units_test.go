package conf

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestSize(t *testing.T) {
	f := func(in string, want int64) {
		t.Helper()
		got, err := Size(in)
		if want < 0 {
			if err == nil || !strings.HasPrefix(err.Error(), "cannot read size ") {
				t.Errorf("Size(%q) = %d, %v, want an error", in, got, err)
			}
		} else if err != nil || got != want {
			t.Errorf("Size(%q) = %d, %v, want %d", in, got, err, want)
		}
	}
	f("0", 0)
	f("512", 512)
	f("007", 7)
	f("4k", 4<<10)
	f("4K", 4<<10)
	f("8m", 8<<20)
	f("8M", 8<<20)
	f("1g", 1<<30)
	f("1G", 1<<30)
	f("9223372036854775807", math.MaxInt64)
	f("9007199254740991k", 9007199254740991<<10)
	f("9223372036854775808", -1)
	f("9007199254740992k", -1)
	f("8589934592g", -1)
	f("", -1)
	f("k", -1)
	f("-1", -1)
	f("+1", -1)
	f("1.5k", -1)
	f("1 k", -1)
	f("1kk", -1)
	f("1t", -1)
	f("1kb", -1)
}

func TestTime(t *testing.T) {
	// want is the time in either resolution, -1 for an error.
	check := func(name string, f func(string) (time.Duration, error), in string, want time.Duration) {
		t.Helper()
		got, err := f(in)
		if want < 0 {
			if err == nil || !strings.HasPrefix(err.Error(), "cannot read time ") {
				t.Errorf("%s(%q) = %v, %v, want an error", name, in, got, err)
			}
		} else if err != nil || got != want {
			t.Errorf("%s(%q) = %v, %v, want %v", name, in, got, err, want)
		}
	}
	f := func(in string, want, seconds time.Duration) {
		t.Helper()
		check("Time", Time, in, want)
		check("TimeSeconds", TimeSeconds, in, seconds)
	}
	both := func(in string, want time.Duration) { t.Helper(); f(in, want, want) }
	const day = 24 * time.Hour

	both("0", 0)
	both("10", 10*time.Second)
	both("010", 10*time.Second)
	both("10s", 10*time.Second)
	both("1m30s", 90*time.Second)
	both("1m30", 90*time.Second)
	both("1h 30m", 90*time.Minute)
	both("1h   30m ", 90*time.Minute)
	both("1h30m10s", 90*time.Minute+10*time.Second)
	both("1d", day)
	both("1w", 7*day)
	both("1M", 30*day)
	both("1y", 365*day)
	both("1y1M1w1d1h1m1s", 403*day-day+time.Hour+time.Minute+time.Second+day)
	both("292y", 292*365*day)
	f("500ms", 500*time.Millisecond, -1)
	f("1s500ms", 1500*time.Millisecond, -1)
	f("1m500ms", time.Minute+500*time.Millisecond, -1)

	both("293y", -1)
	both("292y292y", -1)
	both("292y 11M", -1)
	both("99999999999999999999", -1)
	both("9223372037", -1)
	both("", -1)
	both(" ", -1)
	both("s", -1)
	both("1hm", -1)
	both("30s1m", -1)
	both("1m1m", -1)
	both("1ms1s", -1)
	both("30 1h", -1)
	both("1 h", -1)
	both(" 1h", -1)
	both("-1", -1)
	both("1.5s", -1)
	both("1H", -1)
	both("1S", -1)
	both("1sec", -1)
	both("1s;", -1)
}
