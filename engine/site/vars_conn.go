package site

import (
	"net/netip"
	"os"
	"strconv"
	"time"
)

var pidText = strconv.Itoa(os.Getpid())

func varPid(dst []byte, _ *Request) ([]byte, bool) { return append(dst, pidText...), true }

// appendAddr appends an address; IPv4 in IPv6 is shown as IPv4, a unix socket as "unix:".
func appendAddr(dst []byte, a netip.Addr, unix bool) []byte {
	if unix {
		return append(dst, "unix:"...)
	}
	if !a.IsValid() {
		return dst
	}
	return a.Unmap().AppendTo(dst)
}

// varRemoteAddr keeps the text: a connection asks for the same address again and again.
func varRemoteAddr(dst []byte, r *Request) ([]byte, bool) {
	if r.RemoteUnix {
		return appendAddr(dst, r.Remote.Addr(), true), true
	}
	p := &r.p
	if a := r.Remote.Addr(); a != p.addr {
		if len(a.Zone()) > 0 {
			return appendAddr(dst, a, false), true
		}
		p.addr = a
		p.addrLen = uint8(len(appendAddr(p.addrText[:0], a, false)))
	}
	return append(dst, p.addrText[:p.addrLen]...), true
}

func varBinaryRemoteAddr(dst []byte, r *Request) ([]byte, bool) {
	a := r.Remote.Addr().Unmap()
	switch {
	case r.RemoteUnix:
		return append(dst, "unix:"...), true
	case a.Is4():
		b := a.As4()
		return append(dst, b[:]...), true
	case a.Is6():
		b := a.As16()
		return append(dst, b[:]...), true
	}
	return dst, false
}

func varRealIPAddr(dst []byte, r *Request) ([]byte, bool) {
	if r.p.realDone {
		return appendAddr(dst, r.p.realRemote.Addr(), r.p.realRemoteUnix), true
	}
	return varRemoteAddr(dst, r)
}

func varRealIPPort(dst []byte, r *Request) ([]byte, bool) {
	if r.p.realDone {
		return appendPort(dst, r.p.realRemote.Port()), true
	}
	return appendPort(dst, r.Remote.Port()), true
}

func varServerAddr(dst []byte, r *Request) ([]byte, bool) {
	if r.Listen.Network == "unix" {
		return append(append(dst, "unix:"...), r.Listen.Addr...), true
	}
	return appendAddr(dst, r.localAddr().Addr(), false), true
}

// varStatus is the status of the answer, three digits, "000" before it is known. Source: nginx,
// ngx_http_variable_status.
func varStatus(dst []byte, r *Request) ([]byte, bool) {
	s := r.Status
	if s == 0 {
		s = r.ErrStatus
	}
	return append(dst, byte('0'+s/100%10), byte('0'+s/10%10), byte('0'+s%10)), true
}

// appendInt appends n in decimal.
func appendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }

// appendMillis appends d as seconds with three decimals, cut, never below zero.
func appendMillis(dst []byte, d time.Duration) []byte {
	ms := max(d.Milliseconds(), 0)
	dst = append(appendInt(dst, ms/1000), '.')
	return append3(dst, int(ms%1000))
}

func append3(dst []byte, n int) []byte {
	return append(dst, byte('0'+n/100), byte('0'+n/10%10), byte('0'+n%10))
}

func varMsec(dst []byte, r *Request) ([]byte, bool) {
	t := r.now()
	dst = append(appendInt(dst, t.Unix()), '.')
	return append3(dst, t.Nanosecond()/1e6), true
}

func varTimeLocal(dst []byte, r *Request) ([]byte, bool) {
	p := r.times()
	return append(dst, p.timeLocal[:p.timeLens[0]]...), true
}

func varTimeISO(dst []byte, r *Request) ([]byte, bool) {
	p := r.times()
	return append(dst, p.timeISO[:p.timeLens[1]]...), true
}

// times makes the two time texts, once a second for each request value: they survive Reset.
func (r *Request) times() *private {
	p, t := &r.p, r.now()
	if sec := t.Unix(); sec != p.timeSec || p.timeLens[0] == 0 {
		p.timeSec = sec
		a := t.AppendFormat(p.timeLocal[:0], "02/Jan/2006:15:04:05 -0700")
		b := t.AppendFormat(p.timeISO[:0], "2006-01-02T15:04:05-07:00")
		p.timeLens = [2]uint8{uint8(len(a)), uint8(len(b))}
	}
	return p
}
