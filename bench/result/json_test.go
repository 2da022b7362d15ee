package result

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func TestJSON(t *testing.T) {
	f := func(r *Report) {
		t.Helper()
		r.Finish()
		var b bytes.Buffer
		if err := r.WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), ":null") && r.Commit != hostile { // maps and lists of the other packages may be nil there
			for _, key := range []string{"runs", "samples", "notes", "results", "ratios", "goals", "skipped", "contenders", "rss", "events"} {
				if strings.Contains(b.String(), `"`+key+`":null`) {
					t.Errorf("%s is null", key)
				}
			}
		}
		got, err := ReadJSON(&b)
		if err != nil {
			t.Fatal(err)
		}
		if got.Schema != schema || !reflect.DeepEqual(got, r) {
			t.Errorf("got %+v, want %+v", got, r)
		}
	}
	f(made())
	f(nasty())
	f(&Report{})
}

func TestReadJSON(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if _, err := ReadJSON(strings.NewReader(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %q", in, err, want)
		}
	}
	f(``, "cannot read a report: EOF")
	f(`{"schema":1`, "cannot read a report: unexpected EOF")
	f(`{"schema":2}`, "cannot read a report of schema 2: this program knows schema 1")
	f(`{"date":"2026-11-24T00:00:00Z"}`, "schema 0")
	f(`{"schema":1,"runs":{}}`, "cannot read a report: json")
}
