//go:build race

package main

// raceEnabled: the binary under test is built with the race detector, too.
const raceEnabled = true
