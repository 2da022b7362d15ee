package conf

import "strings"

// nearest gives the candidate within edit distance 2 of name, the closest one and the first among equals, or ""
// when there is none. Case does not count as a difference. A candidate must be right in more than half of its
// letters, or every short word would be near every other.
func nearest(name string, candidates []string) string {
	const limit = 2
	best, bestAt := "", limit+1
	name = strings.ToLower(name)
	for _, c := range candidates {
		if n := len(c) - len(name); n > limit || n < -limit {
			continue
		}
		if d := editDistance(name, strings.ToLower(c)); d < bestAt && 2*d < len(c) {
			best, bestAt = c, d
		}
	}
	return best
}

// editDistance counts the bytes to insert, delete or replace to make b from a (Levenshtein). It only runs for
// errors, on words of nearly equal length.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
