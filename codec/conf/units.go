package conf

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// Wording of what a value may be, shared by the functions here and by Value, so that all errors read alike.
const (
	sizeForm    = "a number of bytes, or of k, m or g: 512, 4k, 8m, 1g"
	timeForm    = "a time such as 500ms, 10s, 1m30s or 1d; a plain number is seconds"
	secondsForm = "a time in whole seconds such as 10s, 1m30s or 1d; a plain number is seconds"
	longestForm = "a time of at most 292 years"
	largestForm = "a size below 8589934592g"
)

// What has the right form and is beyond its bound.
var (
	errTooLong  = errors.New("it is over 292 years")
	errTooLarge = errors.New("it is too large")
)

// Size reads a size in bytes the way nginx does: decimal digits and at most one unit k, m or g in either case,
// powers of 1024. There is no sign and no space. A size over 2^63-1 is an error.
// Source: nginx, ngx_parse.c (ngx_parse_offset).
func Size(s string) (int64, error) {
	digits, scale := s, int64(1)
	if s != "" {
		switch s[len(s)-1] {
		case 'k', 'K':
			scale = 1 << 10
		case 'm', 'M':
			scale = 1 << 20
		case 'g', 'G':
			scale = 1 << 30
		}
		if scale > 1 {
			digits = s[:len(s)-1]
		}
	}
	n, rest, ok := leadingInt(digits)
	if !ok && n == math.MaxInt64 && strings.Trim(rest, "0123456789") == "" {
		return 0, fmt.Errorf("cannot read size %s: %w", quote(s), errTooLarge)
	}
	if !ok || rest != "" {
		return 0, fmt.Errorf("cannot read size %s: it must be %s", quote(s), sizeForm)
	}
	if n > math.MaxInt64/scale {
		return 0, fmt.Errorf("cannot read size %s: %w", quote(s), errTooLarge)
	}
	return n * scale, nil
}

// timeUnits go from large to small, which is the order a combined time must have.
var timeUnits = []struct {
	name  string
	scale time.Duration
}{
	{"y", 365 * 24 * time.Hour},
	{"M", 30 * 24 * time.Hour},
	{"w", 7 * 24 * time.Hour},
	{"d", 24 * time.Hour},
	{"h", time.Hour},
	{"m", time.Minute},
	{"s", time.Second},
	{"ms", time.Millisecond},
}

// Time reads a time the way nginx does: numbers with the units y M w d h m s ms from large to small, each at most
// once, with or without spaces behind a unit ("1h 30m", "1m30s"); a number without a unit stands last and is
// seconds. A month has 30 days, a year 365. There are no fractions and no signs. A time over 2^63-1 ns (292 years)
// is an error. Unlike nginx, which keeps y and M to the directives of whole seconds, Time takes them everywhere.
// Source: nginx, ngx_parse.c (ngx_parse_time).
func Time(s string) (time.Duration, error) { return parseTime(s, timeUnits, timeForm) }

// TimeSeconds is Time for the values that nginx keeps in whole seconds (fail_timeout, valid, expires): the unit ms
// is an error.
func TimeSeconds(s string) (time.Duration, error) {
	return parseTime(s, timeUnits[:len(timeUnits)-1], secondsForm)
}

func parseTime(s string, units []struct {
	name  string
	scale time.Duration
}, form string) (time.Duration, error) {
	bad := func() (time.Duration, error) {
		return 0, fmt.Errorf("cannot read time %s: it must be %s", quote(s), form)
	}
	var total int64
	rest := s
	for first := true; first || rest != ""; first = false {
		n, after, ok := leadingInt(rest)
		if !ok {
			if n == math.MaxInt64 {
				return 0, fmt.Errorf("cannot read time %s: %w", quote(s), errTooLong)
			}
			return bad()
		}
		// A unit is all up to the next digit or space, so that "5m" and "5ms" are told apart.
		unit := after
		if i := strings.IndexAny(after, " 0123456789"); i >= 0 {
			unit = after[:i]
		}
		scale := time.Second
		if after == "" {
			units = nil
		} else {
			i := 0
			for i < len(units) && units[i].name != unit {
				i++
			}
			if i == len(units) {
				return bad()
			}
			scale, units = units[i].scale, units[i+1:]
		}
		rest = strings.TrimLeft(after[len(unit):], " ")
		if n > (math.MaxInt64-total)/int64(scale) {
			return 0, fmt.Errorf("cannot read time %s: %w", quote(s), errTooLong)
		}
		total += n * int64(scale)
	}
	return time.Duration(total), nil
}

// leadingInt reads the decimal digits at the front of s; ok is false without a digit. A number over 2^63-1 is
// given as 2^63-1 with ok false and rest as it was, so that callers refuse it as they refuse text.
func leadingInt(s string) (n int64, rest string, ok bool) {
	i := 0
	for ; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		d := int64(s[i] - '0')
		if n > (math.MaxInt64-d)/10 {
			return math.MaxInt64, s, false
		}
		n = n*10 + d
	}
	return n, s[i:], i > 0
}
