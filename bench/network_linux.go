package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A run has a network of its own where the user may make one: a network namespace with nothing but loopback, no traffic
// and no ports of others, and the congestion control that Linux has by default. A machine set to BBR paces each segment by
// a timer, also over loopback, which in a virtual machine costs more than the rest of moving a megabyte: its figures would
// be about timers. "-network host" measures with what the machine has.

// networkMark in the environment says that this process is the one inside, and is to set the network up.
const networkMark = "DYUPSBENCH_NETWORK"

// privateCongestion are the congestion controls inside, the first that may be chosen: a namespace has only those that the
// machine allows everybody (net.ipv4.tcp_allowed_congestion_control), and where its own is BBR, CUBIC need not be among them.
// Reno always is. Over loopback, where nothing is lost, the two do the same, and neither paces.
var privateCongestion = []string{"cubic", "reno"}

// Isolate runs the program again with the same arguments in a network of its own and returns its exit status. done false:
// go on in this process, because it is the one inside, the arguments need no network or want the host's, or the user may
// not make one, which stderr is told.
func Isolate(args []string, stderr io.Writer) (status int, done bool) {
	if os.Getenv(networkMark) != "" {
		if err := setUpNetwork(); err != nil {
			fmt.Fprintf(stderr, "dyupsbench: %v\n", err)
			return 1, true
		}
		return 0, false
	}
	if len(args) > 0 && children[args[0]] != nil {
		return 0, false
	}
	c, err := parseArgs(args, io.Discard)
	if err != nil || c.list || c.network != networkPrivate {
		return 0, false // Main has the say
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	self, err := os.Executable()
	if err != nil {
		return 0, false
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(cmd.Environ(), networkMark+"=private")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	if err := cmd.Start(); err != nil {
		fmt.Fprintf(stderr, "dyupsbench: no network of its own (%v): measuring in the host's\n", err)
		return 0, false
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, true
	case errors.As(err, &exit) && exit.Exited():
		return exit.ExitCode(), true
	}
	fmt.Fprintf(stderr, "dyupsbench: %v\n", err)
	return 1, true
}

// setUpNetwork makes a new network namespace fit for a run: loopback up, the congestion control set.
func setUpNetwork() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot set up the network: %w", err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, lo)
	}
	if err == nil {
		lo.SetUint16(lo.Uint16() | unix.IFF_UP)
		err = unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
	}
	if err != nil {
		return fmt.Errorf("cannot open loopback: %w", err)
	}
	return chooseCongestion("/proc/sys/net/ipv4/tcp_congestion_control")
}

// chooseCongestion writes the first of privateCongestion that is taken to file, unless one of them is there already.
func chooseCongestion(file string) error {
	now, err := os.ReadFile(file)
	if err == nil && slices.Contains(privateCongestion, strings.TrimSpace(string(now))) {
		return nil
	}
	for _, name := range privateCongestion {
		if err = os.WriteFile(file, []byte(name), 0); err == nil {
			return nil
		}
	}
	return fmt.Errorf("cannot choose congestion control %q: %w", privateCongestion, err)
}
