// Package engine proxies HTTP/1.1 on its own event loops: one goroutine locked to one thread for each core, netpoll's
// epoll calls underneath, nothing shared between loops but the table of upstreams.
//
// # Contract
//
//   - A Loop owns one epoll descriptor and every conn, timer, buffer and idle pool made on it. Only its goroutine touches
//     them. Everybody else speaks to it by post. A loop never blocks: no channel, no lock, no disk, no name look-up. What may
//     block runs on an ants worker and posts its outcome; what waits for name servers, which may take long, on a pool of its own.
//   - An exchange is one request and its answer: a phase (see exchange.go for the diagram), a client, a backend, the table of
//     upstreams it was born with, the servers tried. The table is loaded in proxy, and again before a further try
//     (see below); a try keeps it to its end.
//   - Descriptors are registered once, edge-triggered, for both directions. A short read has emptied the socket, a short write
//     has filled it; so a proxied request costs four system calls (read, write, read, write) besides epoll_wait.
//   - Of a turn with several events, the heads that are due are received by one call before the events are dealt with (inbox.go),
//     and small output is gathered and sent by one call at its end (outbox.go), where the kernel has io_uring and allows
//     it (ring_linux.go); else by a call for each. Readiness is epoll's affair alone, so nothing waits in the ring.
//   - With many requests in progress a loop sleeps 50 microseconds before it waits for events, so as to be woken once for many
//     (coalesce.go). 64 connections with small answers, medians of 4 alternating rounds: 17.8 microseconds of CPU a request
//     before, 13.4 with it, where the loop was often awake as it is; 24.1 and 15.2 where it was not. Answers of 1 MB, 16
//     connections: 155 and 130, and a fifth more of them.
//   - Memory: a conn owns buffers only while it has half a head or output that the socket refused. Every read goes into the
//     loop's one buffer, every head is written in the loop's other one; response bodies are never copied: the head, and the
//     frame of a chunk, are put in front of the bytes where they were read.
//   - Heads are written anew from what was understood, never passed on as they came.
//   - Backpressure: when more than highMark bytes wait for one side, the other side is not read. Response bodies are never
//     spooled to disk (nginx's proxy_temp_path is accepted and unused): a slow client slows its backend.
//   - Request bodies beyond client_body_buffer_size go to a file, written and read by workers, unless
//     proxy_request_buffering is off: then they stream.
//   - An acknowledged change holds: a request that no server has got anything of goes by the table in force when its body is
//     there and its connection stands, and so does each further try of one that failed; the answer to a change waits until every
//     loop has ended its turn. One that waits in the queue of an upstream which is deleted gets 502: it was promised a server of
//     that group, and is not looked up as a host name of DNS as one that comes later is.
//   - Large plain response bodies go from socket to socket through a pipe, by splice(2), unless the kernel paces the client's
//     connection (splice_linux.go has the numbers); what is copied is read in large pieces while the client keeps up.
//   - So do large request bodies that stream, unless the kernel paces the server's connection (upload_linux.go). Uploads of 1 MB, 16
//     connections, medians of 5 alternating rounds: 473 microseconds of CPU before, 160 with it, HAProxy 250; p99 24 ms, 6.3, 8.1;
//     resident memory 36 MB, 9, 21.
//
// # Differences from nginx, on purpose
//
//   - The bound of keepalive is for each server and loop, not for each upstream: with many servers in an upstream the
//     default of 32 would keep less than one connection to each.
//   - An idempotent request that fails on a reused connection before any byte of an answer goes to the same server again, on
//     a fresh connection, and counts as one try. Before a POST, LOCK or PATCH goes out on a reused connection, one more look
//     (MSG_PEEK) tells whether the server has closed it.
//   - Access log records are gathered and written off the loop, before a connection that is to be closed is closed.
//   - A backend's response head is at most 64 KiB, whatever proxy_buffer_size says: it has to fit in the loop's buffer.
//   - A port that another process holds is an error at start even if both would share it by SO_REUSEPORT.
//   - Trailers of chunked answers go to clients that say "TE: trailers"; those of requests are checked and dropped.
package engine
