package site

import (
	"sync"
	"testing"
)

// TestCompileInUse: a command may compile a text with the variables of a site while requests evaluate them; the race detector tells.
func TestCompileInUse(t *testing.T) {
	s := mustCompile(t, `map $arg_x $mine { default other; a one; } server { listen 80; location / { set $own $mine; proxy_pass http://up; } }`)
	v, err := s.Compile("$mine-$own")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 200 {
			if _, err := s.Compile("$mine$own$host"); err != nil {
				t.Error(err)
			}
		}
	})
	r := at(t, s, "80", "/?x=a")
	for range 200 {
		if got := string(v.Append(nil, r)); got != "one-one" {
			t.Errorf("the value is %q", got)
		}
	}
	wg.Wait()
}
