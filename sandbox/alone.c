// What is best done while a process of ours has one thread: before Go's runtime starts.
#define _GNU_SOURCE
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

// A table of descriptors that grows while threads share it waits for a grace period of RCU (expand_fdtable in the kernel), 10 ms and
// more: the gateway's did at the 64th source of a mount, in the middle of a launch, and the launcher's at the door's connections.
static void room_for_descriptors(void) {
	enum { ROOM = 1024 };
	int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, ROOM - 1); // fails where the limit is lower, and then there is no need, either
	if (fd >= 0)
		close(fd);
}

// usual_stacks keeps a caller's limit for one large stack (ulimit -s) from being what every thread of the runtime's maps.
static void usual_stacks(void) {
	enum { USUAL = 8 << 20 };
	pthread_attr_t attr;
	size_t size;
	if (pthread_getattr_default_np(&attr) != 0)
		return;
	if (pthread_attr_getstacksize(&attr, &size) == 0 && size > USUAL && pthread_attr_setstacksize(&attr, USUAL) == 0)
		pthread_setattr_default_np(&attr);
	pthread_attr_destroy(&attr);
}

static void *waits(void *mutex) {
	pthread_mutex_lock(mutex);
	pthread_mutex_unlock(mutex);
	return NULL;
}

// A launch takes so many threads and processes. Go ends a process that gets no thread with status 2 and its own words, at a moment when
// nobody can say anything else; so where the user may have few they are asked for at once. Root is not bound by this limit.
static void room_for_threads(void) {
	enum { FEW = 4096, THREADS = 24 };
	static const char words[] = "agentjail: error: plan: threads for the launch: RLIMIT_NPROC is reached\n"
		"agentjail: hint: end some processes, or raise the limit: ulimit -u\n";
	struct rlimit limit;
	if (getrlimit(RLIMIT_NPROC, &limit) < 0 || limit.rlim_cur >= FEW)
		return;
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	pthread_t threads[THREADS];
	pthread_attr_t small; // their number is asked for, and not memory for stacks of the usual size
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 64 << 10);
	int n = 0;
	pthread_mutex_lock(&mutex);
	while (n < THREADS && pthread_create(&threads[n], &small, waits, &mutex) == 0)
		n++;
	pthread_mutex_unlock(&mutex);
	pthread_attr_destroy(&small);
	for (int i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	if (n < THREADS) {
		if (write(STDERR_FILENO, words, sizeof words - 1) < 0)
			_exit(125);
		_exit(125);
	}
}

static unsigned long ignored;

// agentjail_ignored tells what nohup(1), or a shell for its background jobs, has us ignore: bit n is signal n+1. Go's runtime forgets it.
unsigned long agentjail_ignored(void) { return ignored; }

static void look_at_signals(void) {
	for (int s = 1; s < 32; s++) {
		struct sigaction a;
		if (sigaction(s, NULL, &a) == 0 && a.sa_handler == SIG_IGN)
			ignored |= 1UL << (s - 1);
	}
}

// keep_closed has what is written to a stream that our caller has closed fail, as it would without us: Go's runtime opens /dev/null in its
// place, which takes everything.
static void keep_closed(void) {
	for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0) {
			int null = open("/dev/null", O_RDONLY);
			if (null >= 0 && null != fd) { // stdin is closed as well
				dup2(null, fd);
				close(null);
			}
		}
}

static unsigned long slack;

// agentjail_slack tells by how many nanoseconds our caller's timers may be late: the command's may be as late, and not as ours.
unsigned long agentjail_slack(void) { return slack; }

// A thread of Go's runtime (sysmon) looks after the others every 20 microseconds as long as there is something to do, and in a virtual
// machine each of these timers costs more than what it looks for. A launcher for which a millisecond is soon enough takes a fifth less
// processor time for small requests; a launch takes 1 % longer. Threads inherit it, so this thread's counts (PR_SET_TIMERSLACK(2const)).
static void unhurried(void) {
	enum { SLACK = 1000 * 1000 };
	int had = prctl(PR_GET_TIMERSLACK);
	if (had > 0 && had < SLACK && prctl(PR_SET_TIMERSLACK, SLACK) == 0)
		slack = had;
}

__attribute__((constructor)) static void agentjail_alone(int argc, char **argv) {
	look_at_signals();
	keep_closed();
	unhurried();
	room_for_descriptors();
	usual_stacks();
	// C allocates little here, and every thread of the runtime's would map a heap of 64 MB for it, at which the others wait (mallopt(3)).
	mallopt(M_ARENA_MAX, 1);
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
	if (argc > 0 && strcmp(slash ? slash + 1 : argv[0], "agentjail") == 0) // not the processes that a launcher starts
		room_for_threads();
}
