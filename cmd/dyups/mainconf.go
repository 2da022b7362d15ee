package main

import (
	"fmt"
	"math"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"time"

	"dyups/codec/conf"
	"dyups/engine"
	"dyups/engine/site"
	"dyups/upstream"
)

const (
	defaultErrorLog = "logs/error.log" // below the prefix
	defaultPid      = "logs/dyups.pid" // below the prefix
	// defaultConnections is nginx's default for worker_connections.
	defaultConnections = 512
	// maxLoops bounds worker_processes; more loops than this is a slip of the pen.
	maxLoops = 512
)

// mainConf is what the main and events contexts say.
type mainConf struct {
	root string // the prefix, absolute, with a trailing slash

	Daemon          bool
	Loops           int // worker_processes
	Connections     int // worker_connections, for each loop
	Nofile          int // worker_rlimit_nofile, 0: as high as allowed
	Core            int64
	HasCore         bool
	ShutdownTimeout time.Duration // worker_shutdown_timeout, 0: none
	Pid             string        // absolute
	PidGiven        bool
	ErrorLogs       []logTarget // in file order; empty: the default
	User            *account    // nil: stay who we are
	Dir             string      // working_directory
	Env             []string    // NAME=VALUE

	hasEvents bool
	http      *conf.Directive // nil: no http block
}

// account is the user and group that "user" names.
type account struct {
	name     string
	uid, gid int
	groups   []int
}

// newMainConf applies the main context of a configuration. end is the place to complain about what is missing.
func newMainConf(ds []*conf.Directive, root string, end conf.Pos) (*mainConf, error) {
	m := &mainConf{root: root, Daemon: true, Loops: 1, Connections: defaultConnections, Pid: below(root, defaultPid)}
	if err := mainTable.Apply(conf.Main, m, ds); err != nil {
		return nil, err
	}
	if !m.hasEvents {
		return nil, conf.Errorf(end, `no "events" section in configuration, an "events {}" block is required`)
	}
	return m, nil
}

// mainTable is the meaning of the main context, eventsTable that of the events block.
var mainTable = conf.NewTable(
	conf.Rule[*mainConf]{Name: "daemon", In: conf.Main, Min: 1, Max: 1, Set: func(m *mainConf, d *conf.Directive) (err error) {
		m.Daemon, err = d.OnOff()
		return err
	}},
	conf.Rule[*mainConf]{Name: "worker_processes", In: conf.Main, Min: 1, Max: 1, Set: setWorkers},
	conf.Rule[*mainConf]{Name: "worker_rlimit_nofile", In: conf.Main, Min: 1, Max: 1, Set: func(m *mainConf, d *conf.Directive) (err error) {
		m.Nofile, err = d.Int(0, 1, math.MaxInt)
		return err
	}},
	conf.Rule[*mainConf]{Name: "worker_rlimit_core", In: conf.Main, Min: 1, Max: 1, Set: func(m *mainConf, d *conf.Directive) (err error) {
		m.HasCore = true
		m.Core, err = d.Size(0)
		return err
	}},
	conf.Rule[*mainConf]{Name: "worker_shutdown_timeout", In: conf.Main, Min: 1, Max: 1, Set: func(m *mainConf, d *conf.Directive) (err error) {
		m.ShutdownTimeout, err = d.Time(0)
		return err
	}},
	conf.Rule[*mainConf]{Name: "pid", In: conf.Main, Min: 1, Max: 1, Set: func(m *mainConf, d *conf.Directive) error {
		m.Pid, m.PidGiven = below(m.root, d.Args[0].Text), true
		return nil
	}},
	conf.Rule[*mainConf]{Name: "error_log", In: conf.Main, Min: 1, Max: 2, Many: true, Set: setErrorLog},
	conf.Rule[*mainConf]{Name: "user", In: conf.Main, Min: 1, Max: 2, Set: setUser},
	conf.Rule[*mainConf]{Name: "working_directory", In: conf.Main, Min: 1, Max: 1, Set: func(m *mainConf, d *conf.Directive) error {
		m.Dir = below(m.root, d.Args[0].Text)
		return nil
	}},
	conf.Rule[*mainConf]{Name: "env", In: conf.Main, Min: 1, Max: 1, Many: true, Set: func(m *mainConf, d *conf.Directive) error {
		if strings.Contains(d.Args[0].Text, "=") { // a bare name keeps a variable, and all are kept
			m.Env = append(m.Env, d.Args[0].Text)
		}
		return nil
	}},
	conf.Rule[*mainConf]{Name: "load_module", In: conf.Main, Min: 1, Max: 1, Many: true, Set: func(_ *mainConf, d *conf.Directive) error {
		return conf.Errorf(d.Args[0].Pos, "cannot load module %q: dyups has no loadable modules, what it can do is built in", d.Args[0].Text)
	}},
	conf.Rule[*mainConf]{Name: "events", In: conf.Main, Block: true, Set: func(m *mainConf, d *conf.Directive) error {
		m.hasEvents = true
		return eventsTable.Apply(conf.Events, m, d.Block)
	}},
	conf.Rule[*mainConf]{Name: "http", In: conf.Main, Block: true, Set: func(m *mainConf, d *conf.Directive) error {
		m.http = d
		return nil
	}},
	unsupportedBlock("stream"), unsupportedBlock("mail"),
	// Accepted: true, harmless or without a meaning in one process with event loops.
	onOff("master_process"), onOff("pcre_jit"),
	accepted(conf.Main, "worker_cpu_affinity", 1, -1), accepted(conf.Main, "worker_priority", 1, 1),
	accepted(conf.Main, "timer_resolution", 1, 1), accepted(conf.Main, "lock_file", 1, 1),
	conf.Rule[*mainConf]{Name: "thread_pool", In: conf.Main, Min: 2, Max: 3, Many: true},
)

var eventsTable = conf.NewTable(
	conf.Rule[*mainConf]{Name: "worker_connections", In: conf.Events, Min: 1, Max: 1, Set: func(m *mainConf, d *conf.Directive) (err error) {
		m.Connections, err = d.Int(0, 1, math.MaxInt32)
		return err
	}},
	conf.Rule[*mainConf]{Name: "use", In: conf.Events, Min: 1, Max: 1, Set: func(_ *mainConf, d *conf.Directive) error {
		_, err := d.Enum(0, "epoll", "poll", "select")
		return err
	}},
	conf.Rule[*mainConf]{Name: "multi_accept", In: conf.Events, Min: 1, Max: 1, Set: checkOnOff},
	conf.Rule[*mainConf]{Name: "accept_mutex", In: conf.Events, Min: 1, Max: 1, Set: checkOnOff},
	conf.Rule[*mainConf]{Name: "accept_mutex_delay", In: conf.Events, Min: 1, Max: 1, Set: func(_ *mainConf, d *conf.Directive) error {
		_, err := d.Time(0)
		return err
	}},
	conf.Rule[*mainConf]{Name: "debug_connection", In: conf.Events, Min: 1, Max: 1, Many: true},
)

// The tables tell each other's directives from unknown ones.
func init() {
	all := map[string]conf.Context{}
	for _, names := range []map[string]conf.Context{mainTable.Names(), eventsTable.Names(), site.Directives(), upstream.Rules.Names()} {
		for name, in := range names {
			all[name] |= in
		}
	}
	mainTable.Elsewhere(all)
	eventsTable.Elsewhere(all)
	site.Elsewhere(all)
	upstream.Rules.Elsewhere(all)
}

func onOff(name string) conf.Rule[*mainConf] {
	return conf.Rule[*mainConf]{Name: name, In: conf.Main, Min: 1, Max: 1, Set: checkOnOff}
}

func checkOnOff(_ *mainConf, d *conf.Directive) error {
	_, err := d.OnOff()
	return err
}

func accepted(in conf.Context, name string, min, max int) conf.Rule[*mainConf] {
	return conf.Rule[*mainConf]{Name: name, In: in, Min: min, Max: max}
}

func unsupportedBlock(name string) conf.Rule[*mainConf] {
	return conf.Rule[*mainConf]{Name: name, In: conf.Main, Block: true, Set: func(_ *mainConf, d *conf.Directive) error {
		return d.Errorf("is not supported: dyups proxies HTTP, what is allowed here is \"http\"")
	}}
}

func setWorkers(m *mainConf, d *conf.Directive) error {
	if d.Args[0].Text == "auto" {
		m.Loops = runtime.NumCPU()
		return nil
	}
	n, err := d.Int(0, 1, maxLoops)
	if err != nil {
		return d.Value(0).Invalid(fmt.Sprintf(`"auto" or a whole number from 1 to %d`, maxLoops))
	}
	m.Loops = n
	return nil
}

// setErrorLog reads "error_log FILE|stderr [LEVEL]".
func setErrorLog(m *mainConf, d *conf.Directive) error {
	t := logTarget{level: engine.Err}
	if len(d.Args) == 2 {
		name, err := d.Enum(1, levelNames[:]...)
		if err != nil {
			return err
		}
		for i, n := range levelNames {
			if n == name {
				t.level = engine.Level(i)
			}
		}
	}
	switch file := d.Args[0].Text; {
	case file == "stderr":
	case strings.HasPrefix(file, "syslog:"), strings.HasPrefix(file, "memory:"):
		return d.Value(0).Invalid(`a file or "stderr"`)
	case file == "":
		return d.Value(0).Invalid(`a file or "stderr"`)
	default:
		t.path = below(m.root, file)
		// A path that the prefix decides is made to work; one that was written out in full has to be there.
		t.create = !strings.HasPrefix(file, "/")
		t.lenient = t.create
	}
	m.ErrorLogs = append(m.ErrorLogs, t)
	return nil
}

// setUser reads "user NAME [GROUP]". Without GROUP the group is that of the same name, as in nginx.
func setUser(m *mainConf, d *conf.Directive) error {
	name := d.Args[0].Text
	u, err := user.Lookup(name)
	if err != nil {
		return d.Value(0).Invalid("the name of a user of this system")
	}
	group, at := name, 0
	if len(d.Args) == 2 {
		group, at = d.Args[1].Text, 1
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return d.Value(at).Invalid("the name of a group of this system")
	}
	a := &account{name: name}
	if a.uid, err = strconv.Atoi(u.Uid); err != nil {
		return fmt.Errorf("cannot read the id of user %q: %w", name, err)
	}
	if a.gid, err = strconv.Atoi(g.Gid); err != nil {
		return fmt.Errorf("cannot read the id of group %q: %w", group, err)
	}
	a.groups = []int{a.gid}
	ids, _ := u.GroupIds() // initgroups(3); without them the one group has to do
	for _, id := range ids {
		if n, err := strconv.Atoi(id); err == nil && n != a.gid {
			a.groups = append(a.groups, n)
		}
	}
	m.User = a
	return nil
}

// logTargets gives where the error log goes. early is what -e said, "" if nothing.
func (m *mainConf) logTargets(early string) []logTarget {
	if len(m.ErrorLogs) > 0 {
		return m.ErrorLogs
	}
	return []logTarget{earlyTarget(m.root, early)}
}

// earlyTarget is the error log until, and unless, the configuration names one.
func earlyTarget(root, early string) logTarget {
	switch early {
	case "stderr":
		return logTarget{level: engine.Err}
	case "":
		return logTarget{path: below(root, defaultErrorLog), level: engine.Err, lenient: true}
	}
	return logTarget{path: below(root, early), level: engine.Err, lenient: true}
}
