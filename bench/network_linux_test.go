package bench

import (
	"os"
	"path/filepath"
	"testing"
)

func TestChooseCongestion(t *testing.T) {
	f := func(now, want string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "tcp_congestion_control")
		if err := os.WriteFile(file, []byte(now), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := chooseCongestion(file); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(file); string(got) != want {
			t.Errorf("%q became %q, want %q", now, got, want)
		}
	}
	f("bbr\n", "cubic")
	f("reno\n", "reno\n")
	f("cubic\n", "cubic\n")
	if err := chooseCongestion(t.TempDir()); err == nil {
		t.Error("a file that takes no name is no error")
	}
}
