// Package load is the bench's load generator: one thread that drives all connections of a run, in a process of its own
// (Generator), on a core of its own.
//
// # Contract
//
//   - A closed loop (Spec.Rate 0) has Pipeline requests under way on each connection, and sends the next one when an answer is
//     complete. An open loop sends at intended times, at constant intervals in ticks of 200 µs, on whatever connection is free; a request for
//     which there is none waits, and its latency counts from the time at which it was due. So a proxy that stands still
//     is seen by every request that would have been sent meanwhile.
//   - Throughput is what was answered in the measured part, after the warm-up and before the end. Latencies and errors are
//     those of requests that were answered in it or are due at its end (closed loop), or were due in it (open loop).
//     At the end the run waits for their answers, in a closed loop 2 s at most, while nothing new is sent, in an open loop
//     at most Spec.Timeout. What has not come then is an error of kind "timeout".
//   - Answers are checked: status, framing, length, and for WebSocket the accept key and every byte of the echo.
//   - A request costs one send and one receive; its bytes are made once. Latency begins before the send, on a new
//     connection in a closed loop when that is begun. It ends when the receive returned that
//     brought the last byte. Bodies beyond what one receive takes are dropped in the kernel (MSG_TRUNC), not copied.
package load
