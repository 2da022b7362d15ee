//go:build race

package site

// raceEnabled: sync.Pool, which package regexp uses, then drops entries at random.
const raceEnabled = true
