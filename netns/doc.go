// Package netns answers one question: which network?
//
// A jail's network is two network namespaces and one cable:
//
//	        N0, the gateway                            N1, the jail
//	┌──────────────────────────────┐      ┌──────────────────────────────────┐
//	│ lo   local 198.18.0.0/15     │      │ lo                               │
//	│ gw0  198.18.0.1/30           │ veth │ eth0 198.18.0.2/30               │
//	│ no other route               │──────│ 198.18.0.0/15 via 198.18.0.1     │
//	│ 0.0.0.0:PORT, one per port   │      │ unreachable default (v4 and v6)  │
//	└──────────────────────────────┘      └──────────────────────────────────┘
//
// The route "local 198.18.0.0/15 dev lo" in N0 makes every address of the range one of N0's own (AnyIP): a listener on
// 0.0.0.0:PORT accepts connections to all of them and reads from its local address which one was meant. The door gives each
// allowed name an address of the range, so any TCP client works on any allowed port, and no packet filter exists that could be
// wrong. 198.18.0.0/15 is the benchmarking range of RFC 2544: no real host has an address in it.
//
// What answers, and how fast:
//
//	address of the range, port that is listened on      the door
//	address of the range, any other TCP port            RST at once (ECONNREFUSED)
//	address of the range, UDP                           port unreachable at once (ECONNREFUSED), but for DNS on the gateway
//	any other address                                   no packet leaves: EHOSTUNREACH at once
//
// Sockets that [Listen] makes in N0 belong to N0 for as long as they live, whoever holds them (network_namespaces(7)): the
// gateway hands them to the launcher, which accepts on them and dials from the host's namespace. Both namespaces are new for each
// jail, so jails share the addresses and never meet, and none of the host's services listens in either. IPv6 is off on the cable,
// which would otherwise give both ends link-local addresses that nobody planned.
//
// Everything is done with netlink and system calls, as root of a user namespace that an ordinary user made. The kernel removes
// it all with the last process and the last descriptor.
//
// What it does not do: it judges no connection (netns/egress does), and it does not hide that the jail is one: a process can read
// its addresses and routes.
package netns
