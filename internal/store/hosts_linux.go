package store

import (
	"strings"
	"syscall"
)

// endUnheard has the kernel end a connection when what was sent is not acknowledged
// within the patience: while something is under way it does not probe.
func endUnheard(network, _ string, c syscall.RawConn) (err error) {
	const userTimeout = 18 // TCP_USER_TIMEOUT
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	if outer := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, userTimeout, int(patience.Milliseconds()))
	}); outer != nil {
		return outer
	}
	return err
}
