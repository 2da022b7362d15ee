// Package rival starts the proxies that the bench compares, each from its own configuration, and changes their upstreams
// while they run, each by its own means.
//
// # Contract
//
//   - A Program is a kind of proxy, a Proxy a running one. Start returns as soon as the process runs; Await waits until it
//     accepts connections, CheckAnswers makes sure that it answers rightly and reaches every origin. After Stop nothing of it
//     runs any more; its files stay in Setup.Dir.
//   - An Updater's method returns when the proxy has acknowledged. All updaters of a proxy share what is known of its
//     upstreams, because several proxies take whole lists only. Two updaters may not change one upstream at the same time
//     and expect both changes to be there.
//   - nginx and dyups read the same files, byte for byte. Where one of them needs something of its own (addresses, the
//     interface, temporary folders) it is in an included file.
//   - Everybody keeps connections: of clients for an hour and any number of requests, to origins as many as keepConns
//     says. Nobody writes an access log.
//
// # What an update is, and when it is acknowledged
//
//	nginx         nothing: ErrUnsupported
//	nginx-reload  the file with the upstreams is written anew, the master gets SIGHUP; acknowledged when there are as many
//	              new workers as configured and each old one has ended or calls itself "worker process is shutting
//	              down", which it does right before it closes its listening sockets. What was changed in the meantime
//	              is acknowledged together by the next reload
//	haproxy       commands on the stats socket: set server weight; add server; set server state maint and, where no
//	              connection is left, del server. A list is replaced server by server.
//	              Whole backends cannot be made or removed: ErrUnsupported
//	caddy         PATCH, POST and DELETE of the part of the JSON configuration; acknowledged by status 200, one
//	              after another, because the interface starts anew with each change. A server of weight 2 is in its
//	              list twice: this version knows no weights
//	goproxy       POST of the list as JSON to an interface of its own
//	bare          a POST that changes nothing: it is no proxy, see there
//	dyups         POST /upstream/NAME with the whole list, DELETE /upstream/NAME; acknowledged by status 200
//
// # Many upstreams
//
// Connections kept to origins are bounded by the limit on open files, of each proxy and of the origins' process that has the
// other end of all of them. A proxy that keeps them for each server of each upstream would need a connection for each of
// 100,000 servers. So keepConns divides a fifth of the limit by the number of servers, and where less than one remains
// for each nobody keeps any. A program that knows servers by address alone (goproxy) does not have this problem and keeps
// them always; dyups, nginx, HAProxy and Caddy keep them by upstream.
package rival
