package sandbox

// Request is what the flags say beside the profile.
type Request struct {
	Argv     []string // the command, as typed
	Project  string   // --project, or ""
	Name     string   // --name, or ""
	TTY      string   // auto, always, never, or ""
	Degraded []string // walls that the user lets fall
}
