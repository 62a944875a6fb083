package creds

import "time"

// stamp writes a time as findings have it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
