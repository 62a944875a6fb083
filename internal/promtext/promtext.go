// Package promtext writes labels of Prometheus's text format.
package promtext

import (
	"strings"
)

// escape is for what a label's value must not have.
var escape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// Labels returns names and values, which take turns, as a metric has them between
// its braces. What is not UTF-8 is replaced.
func Labels(pairs ...string) string {
	var list []string
	for i := 0; i+1 < len(pairs); i += 2 {
		list = append(list, pairs[i]+`="`+escape.Replace(strings.ToValidUTF8(pairs[i+1], "\uFFFD"))+`"`)
	}
	return strings.Join(list, ",")
}
