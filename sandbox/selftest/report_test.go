package selftest

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestCatalogue: names are names, stand once, and each area and each kind of control has some.
func TestCatalogue(t *testing.T) {
	seen, areas, controls := map[string]bool{}, map[string]int{}, map[string]int{}
	for _, a := range catalogue() {
		if seen[a.name] || !regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`).MatchString(a.name) || a.why == "" || a.do == nil {
			t.Errorf("%s/%s: the name stands twice or is none, or something is missing", a.area, a.name)
		}
		seen[a.name] = true
		areas[a.area]++
		controls[a.control]++
	}
	for _, area := range []string{files, processes, kernel, network, door, terminal, sessions} {
		if areas[area] < 8 {
			t.Errorf("%s has %d attempts", area, areas[area])
		}
	}
	if len(areas) != 7 || len(controls) != 3 || len(seen) < 80 {
		t.Errorf("%v, %v", areas, controls)
	}
}

func TestJudge(t *testing.T) {
	done, refused, unready := &line{Done: true}, &line{Error: "no"}, &line{Unready: true, Error: "late"}
	for _, tt := range []struct {
		name           string
		tried, control *line
		want           string
	}{
		{"stopped", refused, done, Stopped},
		{"escaped", done, done, Escaped},
		{"escaped, whatever the control says", done, refused, Escaped},
		{"escaped without a control", done, nil, Escaped},
		{"control failed", refused, refused, Inconclusive},
		{"control not tried", refused, unready, Inconclusive},
		{"control without an answer", refused, nil, Inconclusive},
		{"not tried", unready, done, Inconclusive},
		{"without an answer", nil, done, Inconclusive},
	} {
		t.Run(tt.name, func(t *testing.T) {
			answers := func(l *line) map[string]line {
				if l == nil {
					return map[string]line{}
				}
				return map[string]line{"a": *l}
			}
			r := judge([]attempt{{name: "a", area: files, control: outside, why: "x"}}, answers(tt.tried), answers(tt.control))
			if got := r.Attempts[0].Result; got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			if r.Holds() != (tt.want == Stopped) || r.Stopped+r.Escaped+r.Inconclusive != 1 {
				t.Errorf("the sums are wrong: %+v", r)
			}
		})
	}
	if new(Report).Holds() {
		t.Error("a report of nothing holds")
	}
}

// TestOne: an attempt that cannot be made is one that nobody has made.
func TestOne(t *testing.T) {
	if l := one(roleOutside, "no-such-attempt", target{}); l.Done || !l.Unready {
		t.Errorf("%+v", l)
	}
	if l := one(roleOutside, "home-netrc", target{Home: t.TempDir()}); l.Done || l.Unready || !strings.Contains(l.Error, "no such file") {
		t.Errorf("%+v", l)
	}
}

func sample() *Report {
	return judge([]attempt{
		{name: "a", area: files, control: outside, why: "<keys> & \x1b[2J"}, {name: "b", area: files, control: other, why: "y"},
		{name: "c", area: door, control: namespace, why: "z"},
	}, map[string]line{"a": {Done: true}, "b": {Error: "refused"}, "c": {Error: "refused"}},
		map[string]line{"a": {Done: true}, "b": {Done: true}, "c": {Error: "none here"}})
}

// TestJSON holds version 1 of what scripts read.
func TestJSON(t *testing.T) {
	got, err := json.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"version":1,"attempts":[` +
		`{"name":"a","area":"files","result":"escaped","control":"outside: succeeded","detail":"won: \u003ckeys\u003e \u0026 \u001b[2J"},` +
		`{"name":"b","area":"files","result":"stopped","control":"other: succeeded","detail":"refused"},` +
		`{"name":"c","area":"door","result":"inconclusive","control":"namespace: none here","detail":"refused"}],` +
		`"stopped":1,"escaped":1,"inconclusive":1}`
	if string(got) != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if a := fmt.Sprint(sample().Areas()); a != "[{files 1 1 0 0} {door 0 0 1 0}]" {
		t.Error(a)
	}
}

func TestJUnit(t *testing.T) {
	var b bytes.Buffer
	if err := sample().WriteJUnit(&b); err != nil {
		t.Fatal(err)
	}
	var back junitSuite
	if err := xml.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatalf("%v\n%s", err, b.Bytes())
	}
	if back.Tests != 3 || back.Failures != 1 || back.Errors != 1 || back.Cases[0].Failure == nil || back.Cases[1].Failure != nil ||
		back.Cases[1].Error != nil || back.Cases[2].Error == nil || back.Cases[2].Class != "agentjail.door" {
		t.Errorf("%s", b.Bytes())
	}
}

func TestSARIF(t *testing.T) {
	text, err := json.Marshal(sample().SARIF([]string{"claude"}))
	if err != nil {
		t.Fatal(err)
	}
	var log struct {
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct{ Rules []struct{ ID string } }
			}
			Results []struct {
				RuleID, Kind, Level string
				RuleIndex           int
				Locations           []struct {
					PhysicalLocation struct{ ArtifactLocation struct{ URI string } }
				}
			}
		}
	}
	if err := json.Unmarshal(text, &log); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for i, r := range log.Runs[0].Results {
		kinds = append(kinds, r.Kind+" "+r.Level)
		if r.RuleIndex != i || log.Runs[0].Tool.Driver.Rules[i].ID != r.RuleID || r.Locations[0].PhysicalLocation.ArtifactLocation.URI != "claude" {
			t.Errorf("result %d: %+v", i, r)
		}
	}
	if want := []string{"fail error", "pass none", "open none"}; log.Version != "2.1.0" || !slices.Equal(kinds, want) {
		t.Errorf("%s: %q, want %q", log.Version, kinds, want)
	}
}
