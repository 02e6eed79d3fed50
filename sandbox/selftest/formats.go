package selftest

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
)

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr,omitempty"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Failure *junitProblem `xml:"failure"`
	Error   *junitProblem `xml:"error"`
	Skipped *junitProblem `xml:"skipped"`
}

type junitProblem struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes the report as JUnit's XML: an escape is a failure, an inconclusive attempt an error, an absent one skipped.
func (r *Report) WriteJUnit(w io.Writer) error {
	suite := junitSuite{Name: "agentjail selftest", Tests: len(r.Attempts), Failures: r.Escaped, Errors: r.Inconclusive, Skipped: r.Absent}
	for _, a := range r.Attempts {
		c := junitCase{Class: "agentjail." + a.Area, Name: a.Name}
		problem := &junitProblem{Message: a.Detail, Text: "control " + a.Control}
		switch a.Result {
		case Escaped:
			c.Failure = problem
		case Inconclusive:
			c.Error = problem
		case Absent:
			c.Skipped = problem
		}
		suite.Cases = append(suite.Cases, c)
	}
	out, err := xml.MarshalIndent(suite, "", "  ")
	if err == nil {
		_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, out)
	}
	return err
}

// SARIF is the report as a log of SARIF 2.1.0 (OASIS), to be encoded as JSON: a rule an attempt, and each attempt's result under it. The file
// that each is about is the profile, the one thing that a person can change; version is the binary's. There is no page for an informationUri.
func (r *Report) SARIF(profiles []string, version string) any {
	type text struct {
		Text string `json:"text"`
	}
	type artifact struct {
		URI string `json:"uri"`
	}
	type physical struct {
		Artifact artifact `json:"artifactLocation"`
	}
	type location struct {
		Physical physical `json:"physicalLocation"`
	}
	type rule struct {
		ID   string `json:"id"`
		Name string `json:"name"`
		Help text   `json:"shortDescription"`
	}
	type result struct {
		Rule      string     `json:"ruleId"`
		Index     int        `json:"ruleIndex"`
		Kind      string     `json:"kind"`
		Level     string     `json:"level"`
		Message   text       `json:"message"`
		Locations []location `json:"locations"`
	}
	type driver struct {
		Name    string `json:"name"`
		Version string `json:"version"`
		Rules   []rule `json:"rules"`
	}
	type tool struct {
		Driver driver `json:"driver"`
	}
	type run struct {
		Tool    tool     `json:"tool"`
		Results []result `json:"results"`
	}
	type log struct {
		Schema  string `json:"$schema"`
		Version string `json:"version"`
		Runs    []run  `json:"runs"`
	}
	if len(profiles) == 0 {
		profiles = []string{"default"}
	}
	var where []location
	for _, p := range profiles {
		where = append(where, location{physical{artifact{reference(p)}}})
	}
	one := run{Tool: tool{driver{Name: "agentjail selftest", Version: version, Rules: []rule{}}}, Results: []result{}}
	for i, a := range r.Attempts {
		id := a.Area + "/" + a.Name
		one.Tool.Driver.Rules = append(one.Tool.Driver.Rules, rule{id, a.Name, text{a.Why}})
		kind := map[string][2]string{Stopped: {"pass", "none"}, Escaped: {"fail", "error"}, Inconclusive: {"open", "none"},
			Absent: {"notApplicable", "none"}}[a.Result]
		one.Results = append(one.Results, result{id, i, kind[0], kind[1], text{a.Result + ": " + a.Detail + " (control " + a.Control + ")"}, where})
	}
	return log{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []run{one}}
}

// reference is the name or file of a profile as a URI reference (RFC 3986).
func reference(profile string) string {
	u := url.URL{Path: profile} // "a:b" becomes "./a:b": a is no scheme
	if filepath.IsAbs(profile) {
		u.Scheme = "file"
	}
	return u.String()
}
