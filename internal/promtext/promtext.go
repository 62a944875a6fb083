// Package promtext writes metrics in Prometheus's text format.
package promtext

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// ContentType is what an answer of HTTP in this format says of itself.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// A Kind is what a family's values mean.
type Kind string

// The kinds.
const (
	Gauge   Kind = "gauge"
	Counter Kind = "counter" // it only grows
)

// A Writer writes metrics, family by family.
type Writer struct {
	b    *bufio.Writer
	name string // of the family
}

// NewWriter returns a writer that has written all when [Writer.Flush] returns.
func NewWriter(w io.Writer) *Writer { return &Writer{b: bufio.NewWriter(w)} }

// Family begins a family. The samples that follow are its own.
func (w *Writer) Family(name string, kind Kind, help string) {
	w.name = name
	fmt.Fprintf(w.b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// Sample writes a value with its labels, whose names and values take turns. What is
// not UTF-8 is replaced.
func (w *Writer) Sample(value float64, labels ...string) {
	w.b.WriteString(w.name)
	if len(labels) > 0 {
		fmt.Fprintf(w.b, "{%s}", pairs(labels))
	}
	fmt.Fprintf(w.b, " %s\n", strconv.FormatFloat(value, 'f', -1, 64))
}

// Flush writes what is left, and returns the first error there was.
func (w *Writer) Flush() error { return w.b.Flush() }

// Bool returns 1 for what holds, else 0.
func Bool(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}

// escape is for what a label's value must not have.
var escape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

func pairs(labels []string) string {
	var list []string
	for i := 0; i+1 < len(labels); i += 2 {
		list = append(list, labels[i]+`="`+escape.Replace(strings.ToValidUTF8(labels[i+1], "\uFFFD"))+`"`)
	}
	return strings.Join(list, ",")
}
