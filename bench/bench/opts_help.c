#include "bench/opts.h"
#include "bench/plan.h"

static const char head[] =
	"usage: vringbench run [OPTION]...\n"
	"       vringbench recovery [OPTION]...     kill each back end (of vringd its worker): how long until the first frame\n"
	"       vringbench compare OLD.json NEW.json\n"
	"       vringbench rerun FILE.json [--out F.json] [--report F.html]\n"
	"\n"
	"Drives vhost-user-net back ends side by side, in turns, and compares what a frame costs them. The first "
	"--backend's\n"
	"figures are divided by testpmd's, or by the last one's.\n"
	"\n"
	"What is driven\n"
	"  --backend vringd         started in private folders: $VRINGD, the one beside vringbench, the one in PATH\n"
	"  --backend vringd-alone   the same without a keeper: one process\n"
	"  --backend testpmd        dpdk-testpmd with net_vhost, on hugepages if enough are free\n"
	"  --backend ovs            Open vSwitch with DPDK, as a learning switch (openvswitch-switch-dpdk)\n"
	"  --backend NAME=SOCKET,SOCKET     sockets that are there; without a cycle counter: judged by CPU time\n"
	"                           (default: vringd and testpmd; a lone one is put beside testpmd; vringd twice: the "
	"noise;\n"
	"                           recovery: vringd and vringd-alone)\n"
	"  --exec CMD               behind --backend NAME=...: a shell command that makes those sockets\n"
	"  --dpdk PATH              another dpdk-testpmd\n"
	"  --driver builtin|testpmd who plays the guests; testpmd: DPDK's virtio-user, with a closed loop of frames\n"
	"  --cpus L                 CPU of the driver, then those of the back ends, as in 1,2-3 (default: the first two)\n"
	"\n"
	"What is measured\n"
	"  --cases L                of those below; /split or /packed behind a name takes one kind of ring (default: all)\n"
	"  --sizes L                frame bytes without FCS (64 means 68 on a wire; default: as the case has it)\n"
	"  --imix                   the case imix, too, where --cases does not name it\n"
	"  --flows N                different pairs of addresses (default 1)\n"
	"  --search ndr,pdr         highest rate without loss, and with at most --loss P per cent (default 0.5)\n"
	"  --kills N                recovery: of each back end, idle and under load (default 100)\n"
	"  --memory M               recovery: of the guest that sends; the back end has touched all of it (default 4G)\n"
	"  --trials N               pairs of stretches, A B B A (default 9)\n"
	"  --duration S             of a stretch (default 1)\n"
	"  --seed N                 of the intervals and of the frames (default: the time)\n"
	"  --out F.json             all samples, for compare and rerun\n"
	"  --report F.html          tables and plots\n"
	"\n"
	"Cases\n";

static const char tail[] =
	"\n"
	"Exit: 0 done (compare: no regression), 1 failed (compare: a regression), 2 wrong usage, 3 cannot run here.\n";

void opts_help(FILE *f)
{
	fputs(head, f);
	plan_help(f);
	fputs(tail, f);
}
