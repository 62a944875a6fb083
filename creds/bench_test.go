package creds

import "testing"

// One directory before every row of the table.
func BenchmarkJudge(b *testing.B) {
	roots := map[string]string{}
	w := theWorld()
	for _, name := range ConsumerNames() {
		c, err := ConsumerFor(name, "")
		if err != nil {
			b.Fatal(err)
		}
		roots[name], _ = w.good().place(b, c)
	}
	for b.Loop() {
		caches := map[string]*Cache{}
		for _, c := range Consumers() {
			if caches[c.Name] == nil {
				caches[c.Name] = NewCache()
			}
			if j := c.Judge(namesOf(c), JudgeOptions{Root: roots[c.Name], Cache: caches[c.Name]}); !j.Accepted {
				b.Fatal(j)
			}
		}
	}
}
