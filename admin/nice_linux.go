package admin

import "syscall"

// writerNice is added to the nice value of the writer's thread: on a full machine a burst of commands waits for the
// loops, not the loops for it.
const writerNice = 5

// yieldToLoops raises the nice value of the calling thread (on Linux setpriority with id 0 means the thread, not the
// process). A failure only costs the courtesy and is ignored.
func yieldToLoops() {
	raw, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil {
		return
	}
	// The system call returns 20 - nice, so that the result is never negative.
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, 20-raw+writerNice)
}
