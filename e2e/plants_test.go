package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A harness that can't fail proves nothing. Each row plants a fault into the source
// (by an overlay: no file is touched) and wants to see the harness find it. A line
// that is not there any more fails too: then the fault is to be planted anew.
//
// All of them take minutes: KEFU_LONG=1. Without it the first is searched for.
func TestPlantedFaultsAreFound(t *testing.T) {
	const simulation, jumps, disk, killed, synced = "TestSimulation", "TestClockJumps", "TestDiskBreaks", "TestKilledGatewayLosesNothing", "TestSyncedBeforeTheAnswer"
	const restarted, storm, network, memory = "TestPostgresRestarted", "TestTokenStorm", "TestBadNetwork", "TestMemoryLimit"
	const promoted = "TestStandbyPromoted"
	for i, tt := range []struct {
		fault   string
		harness string
		edits   []edit
	}{
		{"a lost answer gives the slot back", simulation, []edit{
			{"internal/dispatch/policy.go", "Outcome: out, Effect: Keep, Attempt", "Outcome: out, Effect: GiveBack, Attempt"}}},
		{"what was on its way at a crash is queued again", simulation, []edit{
			{"internal/store/transition.go", "		State:   gateway.Unknown,\n", "		State:   gateway.Queued,\n"}}},
		{"the window is not asked", simulation, []edit{
			{"internal/dispatch/attempt.go", "	case verdict.Act == ledger.Withhold:", "	case false:"}}},
		{"a lane is a stack", simulation, []edit{
			{"internal/dispatch/lane.go", "	return cmp.Compare(it.number, o.number)", "	return cmp.Compare(o.number, it.number)"}}},
		{"a trigger is kept and not told to the ledger", simulation, []edit{
			{"internal/dispatch/act.go", "	case t == \"\":\n", "	case t == \"\", t == kefu.Unfollow:\n"}}},
		{"what is unknown is resent as often as it is", simulation, []edit{
			{"internal/dispatch/policy.go", "c.OnUnknown == gateway.Resend && !c.Resent", "c.OnUnknown == gateway.Resend"}}},
		{"every part asks for itself alone", simulation, []edit{
			{"internal/dispatch/lane.go", "Slots: it.slots()}", "Slots: 1}"}}},
		{"a long text is refused, and kept all the same", simulation, []edit{
			{"internal/dispatch/accept.go", "					out[i].Err = p\n				}\n				continue\n			}\n			taken", "					out[i].Err = p\n				}\n				if len(sub.Parts) == 0 {\n					continue\n				}\n			}\n			taken"},
			{"internal/dispatch/accept.go", "Err: problem(r.Err)}", "Err: cmp.Or(out[i].Err, problem(r.Err))}"},
			{"internal/dispatch/accept.go", "import (\n", "import (\n	\"cmp\"\n"}}},
		{"no text is too long", simulation, []edit{
			{"internal/dispatch/accept.go", "if most := policy.Most(s.Priority); len(s.Parts) > most", "if most := policy.Most(s.Priority); len(s.Parts) > most+100"}}},
		{"of a long text, the next one goes before the rest", simulation, []edit{
			{"internal/dispatch/lane.go", "func (it *item) begun() bool { return (it.sent > 0 ||", "func (it *item) begun() bool { return (it.sent > 9 ||"},
			{"internal/dispatch/attempt.go", "f.State = gateway.Queued, gateway.Queued // the next part", "f.State, it.number = gateway.Queued, gateway.Queued, it.number+1<<20"}}},
		{"deadlines are not looked at", simulation, []edit{
			{"internal/dispatch/lane.go", "return it.State() != gateway.Unknown }", "return it.State() == gateway.Parked }"}}},
		{"not_before is a minute early", simulation, []edit{
			{"internal/dispatch/lane.go", "i < len(l.scheduled) && l.scheduled[i].joined.reached(now) {", "i < len(l.scheduled) && l.scheduled[i].joined.reached(now.Add(time.Minute)) {"}}},
		{"45009 is taken for a passing refusal", simulation, []edit{
			{"internal/dispatch/policy.go", "	case out.ErrCode == dailyQuota:\n", "	case out.ErrCode == -dailyQuota:\n"},
			{"internal/dispatch/standing.go", "	case code == dailyQuota:\n", "	case code == -dailyQuota:\n"}}},
		{"lost media are not renewed", simulation, []edit{
			{"internal/dispatch/attempt.go", "CanRenew: d.Media != nil && !it.renewed", "CanRenew: false"}}},
		{"a lane goes by the clock", jumps, []edit{
			{"internal/dispatch/lane.go", "	return cmp.Compare(it.number, o.number)", "	return cmp.Or(cmp.Compare(it.joined, o.joined), cmp.Compare(it.number, o.number))"}}},
		{"acknowledged before the commit", killed, []edit{ // where several share one: the gateway's start reads what it has just written
			{"internal/store/writer.go", "	failpoint.Here(\"commit.before\")\n", "	if len(batch) > 1 {\n		for _, o := range batch {\n			o.done.Done()\n		}\n		time.Sleep(20 * time.Millisecond)\n	}\n"},
			{"internal/store/writer.go", "	\"github.com/kefu-go/kefu/internal/failpoint\"\n", ""},
			{"internal/store/writer.go", "	failpoint.Here(\"commit.after\")\n", ""},
			{"internal/store/writer.go", "		o.done.Done()\n	}\n}\n", "		if len(batch) < 2 {\n			o.done.Done()\n		}\n	}\n}\n"}}},
		{"the log is not synced", synced, []edit{
			{"internal/store/sqlite.go", `{"synchronous", "full"}`, `{"synchronous", "normal"}`}}},
		{"bodies are read, however many there are", memory, []edit{
			{"internal/server/call.go", "maxHeld   = 64 << 20", "maxHeld   = 64 << 40"}}},
		{"a commit that failed is acknowledged", disk, []edit{
			{"internal/store/writer.go", "		if err != nil {\n			o.err = err\n		}\n		o.done.Done()\n", "		o.done.Done()\n"}}},
		{"a read that fails is not noted", disk, []edit{
			{"internal/store/reading.go", "!s.reading.over && s.reading.failed", "false && s.reading.failed"}}},
		{"what was on its way at a kill is queued again", killed, []edit{
			{"internal/store/transition.go", "		State:   gateway.Unknown,\n", "		State:   gateway.Queued,\n"}}},
		{"a COMMIT that was never answered counts as kept", "store TestConnectionLostAtEveryRoundTrip", []edit{
			{"internal/store/writer.go", "		err = w.resolve(d)\n", "		w.publish(d.grew, d.head)\n		err = nil\n"}}},
		{"a COMMIT that was never answered counts as not kept", "store TestCommitInDoubt", []edit{
			{"internal/store/writer.go", "		err = w.resolve(d)\n", "		err = d.err\n"}}},
		{"what the server shows counts as kept", "store TestNothingIsAcknowledgedThatTheStandbyHasNot", []edit{
			{"internal/store/writer.go", "t.session, again, true)", "t.session, again, false)"}}},
		{"the server's warning at a COMMIT is not heard", "store TestNothingIsAcknowledgedThatTheStandbyHasNot", []edit{
			{"internal/store/postgres.go", "	if n.SeverityUnlocalized == \"WARNING\" {", "	if false {"}}},
		{"the lease waits for the standby", "store TestNothingIsAcknowledgedThatTheStandbyHasNot", []edit{
			{"internal/store/postgres.go", "	c.RuntimeParams[\"synchronous_commit\"] = \"local\"\n", ""}}},
		{"a read waits for ever", "store TestServerGoesSilent", []edit{
			{"internal/store/reading.go", "; r.patience > 0 {", "; r.patience > time.Hour {"}}},
		{"hosts are asked one after another", "store TestSilentHosts", []edit{
			{"internal/store/hosts.go", "headStart = 300 * time.Millisecond", "headStart = time.Hour"}}},
		{"the fence is not looked at", "store TestPostgreSQL", []edit{
			{"internal/store/writer.go", "	if err == nil && t.epoch != w.epoch {", "	if false {"}}},
		{"what a database that ends did not keep is acknowledged", restarted, []edit{
			{"internal/store/writer.go", "		if err != nil {\n			o.err = err\n		}\n		o.done.Done()\n", "		o.done.Done()\n"}}},
		{"a commit does not wait for the standby", promoted, []edit{
			{"internal/store/postgres.go", "current_setting('synchronous_commit'), false)", "'local', false)"}}},
		{"the token that the store has is not taken", storm, []edit{
			{"internal/tokens/decide.go", "	if !askedFor(w.why) && !same(u.Token.Value, w.stale) && ", "	if false && "}}},
		{"an upload without an answer is for good", network, []edit{
			{"internal/dispatch/media.go", "	return class != kefu.ErrMediaInvalid && class != kefu.ErrBadRequest\n", "	return class == kefu.ErrToken\n"}}},
	} {
		// A fault that is planted in a line that has gone is found nowhere.
		overlay := plant(t, tt.edits)
		if i > 0 && os.Getenv("KEFU_LONG") == "" {
			continue
		}
		t.Run(tt.fault, func(t *testing.T) {
			var run *exec.Cmd
			name, ofStore := strings.CutPrefix(tt.harness, "store ")
			switch {
			case ofStore:
				run = exec.Command("go", "test", "-overlay", overlay, "-run", "^"+name+"$", "-count=1", "./internal/store")
				run.Dir = ".."
				run.Env = append(os.Environ(), "KEFU_LONG=")
			case tt.harness == simulation || tt.harness == jumps:
				run = exec.Command("go", "test", "-overlay", overlay, "-run", tt.harness, "-count=1", "./internal/dispatch")
				run.Dir = ".."
				run.Env = append(os.Environ(), "KEFU_LONG=", "KEFU_SEEDS=400")
			case tt.harness == disk:
				run = exec.Command("go", "test", "-overlay", overlay, "-run", tt.harness, "-count=1", ".")
				run.Env = append(os.Environ(), "KEFU_LONG=")
			default:
				bin := filepath.Join(t.TempDir(), "kefu")
				build := exec.Command("go", "build", "-overlay", overlay, "-o", bin, "./cmd/kefu")
				build.Dir = ".."
				if out, err := build.CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				self, err := os.Executable()
				if err != nil {
					t.Fatal(err)
				}
				run = exec.Command(self, "-test.run", "^"+tt.harness+"$", "-test.count=1")
				run.Env = append(os.Environ(), "KEFU_LONG=", "KEFU_KILLS=15", "KEFU_ROUNDS=20", "KEFU_BIN="+bin)
			}
			out, err := run.CombinedOutput()
			if err == nil {
				t.Fatalf("not found:\n%s", out)
			}
			found := ""
			for line := range strings.Lines(string(out)) {
				if strings.Contains(line, "build failed") || strings.Contains(line, "is not ready") {
					t.Fatalf("it does not get that far:\n%s", out)
				}
				if strings.Contains(line, "_test.go:") && found == "" {
					found = strings.TrimSpace(line)
				}
			}
			if found == "" {
				t.Fatalf("it failed of something else:\n%s", out)
			}
			t.Log("found: ", found)
		})
	}
}

// An edit replaces the one place in a file.
type edit struct{ file, old, new string }

// plant writes the edited files elsewhere and returns the overlay that puts them in
// the place of the real ones.
func plant(t *testing.T, edits []edit) (overlay string) {
	t.Helper()
	dir := t.TempDir()
	replace, text := map[string]string{}, map[string]string{}
	for _, e := range edits {
		real, err := filepath.Abs(filepath.Join("..", filepath.FromSlash(e.file)))
		if err != nil {
			t.Fatal(err)
		}
		if _, seen := text[real]; !seen {
			b, err := os.ReadFile(real)
			if err != nil {
				t.Fatal(err)
			}
			text[real] = string(b)
		}
		if n := strings.Count(text[real], e.old); n != 1 {
			t.Fatalf("%s has %d places like this, want 1; plant the fault anew:\n%s", e.file, n, e.old)
		}
		text[real] = strings.Replace(text[real], e.old, e.new, 1)
		replace[real] = filepath.Join(dir, filepath.Base(real))
	}
	for real, edited := range replace {
		if err := os.WriteFile(edited, []byte(text[real]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlay = filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return overlay
}
