package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"unsafe"
)

// The calls below go through RawSyscall: the descriptors are non-blocking, so the scheduler need not be told.

// sysRead reads from a socket into p; n == 0 with errno 0 is the end of the stream. recvfrom and sendto spare the file
// layer that read and write go through.
func sysRead(fd int, p []byte) (int, syscall.Errno) {
	for {
		n, _, e := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))),
			uintptr(len(p)), 0, 0, 0)
		if e != syscall.EINTR {
			return int(n), e
		}
	}
}

// msgMore is MSG_MORE of send(2), which package syscall does not have.
const msgMore = 0x8000

// sysWrite writes p to a socket, without a signal when the peer is gone.
func sysWrite(fd int, p []byte, flags int) (int, syscall.Errno) {
	for {
		n, _, e := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))),
			uintptr(len(p)), syscall.MSG_NOSIGNAL|uintptr(flags), 0, 0)
		if e != syscall.EINTR {
			return int(n), e
		}
	}
}

// sysPeek looks at one byte of input without taking it.
func sysPeek(fd int) (int, syscall.Errno) {
	var b [1]byte
	n, _, e := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), 1,
		syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	return int(n), e
}

// sysAccept takes one connection from a listening socket; rsa receives the peer's address.
func sysAccept(fd int, rsa *syscall.RawSockaddrAny) (int, syscall.Errno) {
	size := uint32(unsafe.Sizeof(*rsa))
	n, _, e := syscall.RawSyscall6(syscall.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(rsa)),
		uintptr(unsafe.Pointer(&size)), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0, 0)
	if e == 0 && size <= 2 {
		rsa.Addr.Family = syscall.AF_UNIX // an unnamed peer
	}
	return int(n), e
}

func sysClose(fd int) { _, _, _ = syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0) }

func sysShutdownWrite(fd int) {
	_, _, _ = syscall.RawSyscall(syscall.SYS_SHUTDOWN, uintptr(fd), syscall.SHUT_WR, 0)
}

// addrOf reads an IP address out of rsa; zero for a unix socket.
func addrOf(rsa *syscall.RawSockaddrAny) netip.AddrPort {
	switch rsa.Addr.Family {
	case syscall.AF_INET:
		sa := (*syscall.RawSockaddrInet4)(unsafe.Pointer(rsa))
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), port(&sa.Port))
	case syscall.AF_INET6:
		sa := (*syscall.RawSockaddrInet6)(unsafe.Pointer(rsa))
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), port(&sa.Port))
	}
	return netip.AddrPort{}
}

func port(p *uint16) uint16 { return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(p))[:]) }

// localAddr asks for the address a connection was accepted on.
func localAddr(fd int) netip.AddrPort {
	var rsa syscall.RawSockaddrAny
	size := uint32(unsafe.Sizeof(rsa))
	_, _, e := syscall.RawSyscall(syscall.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&rsa)), uintptr(unsafe.Pointer(&size)))
	if e != 0 {
		return netip.AddrPort{}
	}
	return addrOf(&rsa)
}

// sysBind gives a socket its local address before it connects, with options as nginx's ngx_event_connect_peer sets them: a
// port of the kernel's choice is chosen only when it connects, so that one port serves many destinations.
func sysBind(fd uintptr, from netip.AddrPort, transparent bool) syscall.Errno {
	const bindAddressNoPort = 24 // IP_BIND_ADDRESS_NO_PORT, ip(7)
	set := func(level, name uintptr) syscall.Errno {
		one := int32(1)
		_, _, e := syscall.RawSyscall6(syscall.SYS_SETSOCKOPT, fd, level, name, uintptr(unsafe.Pointer(&one)), 4, 0)
		return e
	}
	if transparent {
		level, name := uintptr(syscall.IPPROTO_IP), uintptr(syscall.IP_TRANSPARENT)
		if from.Addr().Is6() {
			level, name = syscall.IPPROTO_IPV6, 75 // IPV6_TRANSPARENT
		}
		if e := set(level, name); e != 0 {
			return e
		}
	}
	if from.Port() == 0 {
		_ = set(syscall.IPPROTO_IP, bindAddressNoPort)
	} else {
		_ = set(syscall.SOL_SOCKET, syscall.SO_REUSEADDR)
	}
	var rsa syscall.RawSockaddrAny
	_, size := sockaddr(&rsa, from, "")
	_, _, e := syscall.RawSyscall(syscall.SYS_BIND, fd, uintptr(unsafe.Pointer(&rsa)), size)
	return e
}

// sockaddr writes an IP address or the path of a unix socket into rsa; size 0: the path is too long.
func sockaddr(rsa *syscall.RawSockaddrAny, addr netip.AddrPort, unix string) (family, size uintptr) {
	switch {
	case unix != "":
		sa := (*syscall.RawSockaddrUnix)(unsafe.Pointer(rsa))
		if len(unix) >= len(sa.Path) {
			return 0, 0
		}
		sa.Family = syscall.AF_UNIX
		for i := range len(unix) {
			sa.Path[i] = int8(unix[i])
		}
		return syscall.AF_UNIX, unsafe.Offsetof(sa.Path) + uintptr(len(unix)) + 1
	case addr.Addr().Is4():
		sa := (*syscall.RawSockaddrInet4)(unsafe.Pointer(rsa))
		sa.Family, sa.Addr = syscall.AF_INET, addr.Addr().As4()
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:], addr.Port())
		return syscall.AF_INET, unsafe.Sizeof(*sa)
	}
	sa := (*syscall.RawSockaddrInet6)(unsafe.Pointer(rsa))
	sa.Family, sa.Addr = syscall.AF_INET6, addr.Addr().As16()
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:], addr.Port())
	return syscall.AF_INET6, unsafe.Sizeof(*sa)
}

// sysConnect opens a non-blocking connection; EINPROGRESS is reported as errno 0 with pending true. It comes from the local
// address from, if that is valid, which need not be one of this machine's where transparent is set. own names the call that failed
// before the server could have anything to do with it; empty: it was the connecting itself.
func sysConnect(addr netip.AddrPort, unix string, from netip.AddrPort, transparent bool) (fd int, pending bool, own string, errno syscall.Errno) {
	var rsa syscall.RawSockaddrAny
	family, size := sockaddr(&rsa, addr, unix)
	if size == 0 {
		return -1, false, "", syscall.ENAMETOOLONG
	}
	n, _, e := syscall.RawSyscall(syscall.SYS_SOCKET, family, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if e != 0 {
		return -1, false, "socket()", e
	}
	fd = int(n)
	if family != syscall.AF_UNIX {
		one := int32(1)
		_, _, _ = syscall.RawSyscall6(syscall.SYS_SETSOCKOPT, n, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, uintptr(unsafe.Pointer(&one)), 4, 0)
	}
	if from.IsValid() && family != syscall.AF_UNIX {
		if e := sysBind(n, from, transparent); e != 0 {
			sysClose(fd)
			return -1, false, "bind(" + localText(from) + ")", e
		}
	}
	_, _, e = syscall.RawSyscall(syscall.SYS_CONNECT, n, uintptr(unsafe.Pointer(&rsa)), size)
	switch e {
	case 0:
		return fd, false, "", 0
	case syscall.EINPROGRESS:
		return fd, true, "", 0
	}
	sysClose(fd)
	return -1, false, "", e
}

// sysKeepalive has the kernel probe an idle connection at its usual intervals, tcp(7).
func sysKeepalive(fd int) {
	one := int32(1)
	_, _, _ = syscall.RawSyscall6(syscall.SYS_SETSOCKOPT, uintptr(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, uintptr(unsafe.Pointer(&one)), 4, 0)
}

// localText is a local address as the log names it: with the port that it has.
func localText(a netip.AddrPort) string {
	if a.Port() == 0 {
		return a.Addr().String()
	}
	return a.String()
}

// connectError is the outcome of a pending connect.
func connectError(fd int) syscall.Errno {
	var v, size int32 = 0, 4
	_, _, e := syscall.RawSyscall6(syscall.SYS_GETSOCKOPT, uintptr(fd), syscall.SOL_SOCKET, syscall.SO_ERROR,
		uintptr(unsafe.Pointer(&v)), uintptr(unsafe.Pointer(&size)), 0)
	if e != 0 {
		return e
	}
	return syscall.Errno(v)
}

// listenSocket binds and listens. Several loops share an address through SO_REUSEPORT. The first socket of an address
// is bound without it and given it afterwards: so a port that another process holds is an error, even if that process
// shares it, instead of half the traffic going astray.
func listenSocket(network, addr string, backlog int, first bool) (fd int, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot listen on %s %q: %w", network, addr, err)
		}
	}()
	if network == "unix" {
		return listenUnix(addr, backlog)
	}
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return -1, err
	}
	family, sa := syscall.AF_INET, syscall.Sockaddr(&syscall.SockaddrInet4{Port: int(ap.Port()), Addr: as4(ap.Addr())})
	if ap.Addr().Is6() {
		family, sa = syscall.AF_INET6, &syscall.SockaddrInet6{Port: int(ap.Port()), Addr: ap.Addr().As16()}
	}
	fd, err = syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	set := func(level, opt int) {
		if err == nil {
			err = syscall.SetsockoptInt(fd, level, opt, 1)
		}
	}
	set(syscall.SOL_SOCKET, syscall.SO_REUSEADDR)
	set(syscall.IPPROTO_TCP, syscall.TCP_NODELAY) // accepted sockets inherit it: no call for each connection
	if family == syscall.AF_INET6 {
		set(syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY)
	}
	if !first {
		set(syscall.SOL_SOCKET, soReusePort)
	}
	if err == nil {
		err = syscall.Bind(fd, sa)
	}
	if first {
		set(syscall.SOL_SOCKET, soReusePort)
	}
	if err == nil {
		err = syscall.Listen(fd, backlog)
	}
	if err != nil {
		_ = syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

const soReusePort = 15 // SO_REUSEPORT, absent from package syscall on some ports

func as4(a netip.Addr) (b [4]byte) {
	if a.Is4() {
		b = a.As4()
	}
	return b
}

// listenUnix listens on a socket file. A file that nobody listens on any more (left by a crash) is replaced.
func listenUnix(path string, backlog int) (int, error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	sa := &syscall.SockaddrUnix{Name: path}
	err = syscall.Bind(fd, sa)
	if errors.Is(err, syscall.EADDRINUSE) && abandoned(path) {
		_ = os.Remove(path)
		err = syscall.Bind(fd, sa)
	}
	if err == nil {
		err = os.Chmod(path, 0o666)
	}
	if err == nil {
		err = syscall.Listen(fd, backlog)
	}
	if err != nil {
		_ = syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

func abandoned(path string) bool {
	fi, err := os.Stat(path)
	if err != nil || fi.Mode()&os.ModeSocket == 0 {
		return false
	}
	fd, _, _, e := sysConnect(netip.AddrPort{}, path, netip.AddrPort{}, false)
	if fd >= 0 {
		sysClose(fd)
	}
	return e == syscall.ECONNREFUSED
}

// errnoText is an errno in the words of the C library, as nginx logs it: "Connection refused", not "connection refused".
func errnoText(e syscall.Errno) string {
	t := e.Error()
	if t != "" && 'a' <= t[0] && t[0] <= 'z' {
		t = string(t[0]-'a'+'A') + t[1:]
	}
	return strconv.Itoa(int(e)) + ": " + t
}

// offsetIn is where part, a piece of b, begins in it.
func offsetIn(b, part []byte) int {
	return int(uintptr(unsafe.Pointer(unsafe.SliceData(part))) - uintptr(unsafe.Pointer(unsafe.SliceData(b))))
}
