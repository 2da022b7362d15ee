package result

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// schema is the version of the JSON form. It changes when a field changes its meaning or goes away; fields that are added
// do not change it.
const schema = 1

// WriteJSON writes the whole report on one line. Numbers have to be finite, as they are after Finish.
func (r *Report) WriteJSON(w io.Writer) error {
	r.Schema = schema
	b := bufio.NewWriter(w)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("cannot write the report as JSON: %w", err)
	}
	return b.Flush()
}

// ReadJSON reads what WriteJSON wrote. A report of another schema is an error.
func ReadJSON(rd io.Reader) (*Report, error) {
	var r Report
	if err := json.NewDecoder(bufio.NewReader(rd)).Decode(&r); err != nil {
		return nil, fmt.Errorf("cannot read a report: %w", err)
	}
	if r.Schema != schema {
		return nil, fmt.Errorf("cannot read a report of schema %d: this program knows schema %d", r.Schema, schema)
	}
	return &r, nil
}
