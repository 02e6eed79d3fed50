package sandbox

// The steps of a launch, in their order. Each is the Step of an [Error] and of a doctor's [Check], so that "which step?" has one
// answer everywhere.
const (
	StepPlan           = "plan"            // flags and profiles did not make a plan
	StepKernel         = "kernel"          // the kernel is too old
	StepUserNamespace  = "user_namespace"  // U0, and U1 in it
	StepIDMap          = "id_map"          // the uid and gid maps, and the idmapped project of a run by uid 0
	StepMountNamespace = "mount_namespace" // a private tree of mounts
	StepNetwork        = "network"         // N0, N1, the cable, the door's sockets
	StepHandshake      = "handshake"       // launcher, gateway and init talk
	StepRoot           = "root"            // the jail's file tree
	StepContainer      = "container"       // the jail's namespaces
	StepProc           = "proc"            // the jail's own /proc
	StepInit           = "init"            // our PID 1
	StepSeccomp        = "seccomp"         // the system-call filter
	StepCgroup         = "cgroup"          // limits
	StepSecrets        = "secrets"         // the credentials that stay outside
	StepControl        = "control"         // the socket for agentjail's other subcommands
	StepDoor           = "door"            // the way out
	StepTerminal       = "terminal"        // the jail's pty
	StepStdio          = "stdio"           // stdin, stdout and stderr
	StepAudit          = "audit"           // the session's record
	StepCommand        = "command"         // finding and executing the command
)
