package pgtest

import "syscall"

// endWithParent has the kernel end the server when the process that started it
// dies, however it does.
func endWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGQUIT }
