package certtemplate

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"virtls/internal/peertest"
	"virtls/pki"
)

// dates are what a template may have as a date, right and wrong.
var dates = []string{
	"2027-01-01 12:00:00", "2030-12-31 UTC", "2027-01-01", "2027-06-30T23:59:59Z", "2027-06-30T23:59:59+05:30", "2027-06-30T12",
	"+2 years", "yesterday", "tomorrow", "next month", "last week", "3 months ago", "2 days hence", "1 fortnight", "now", "today", "", " ",
	"@1800000000", "@-5", "@0.5", "1 Jan 2030", "Jan 1, 2030", "January 1 2030", "1-jan-2030", "12/31/2030", "2030/12/31", "20301231", "20301231 1530",
	"monday", "next friday", "2 tuesday", "last sun", "noon", "midnight", "12 noon", "10pm", "10:30 a.m.", "12am", "13pm",
	"2027-07-01 BST", "2027-07-01 12:00 CEST", "2027-01-01 12:00 EST DST", "2027-01-01 UTC+2", "2027-01-01 12:00 -0800", "12:00 +2 hours",
	"2027-02-29", "2028-02-29", "2027-13-01", "24:00", "23:60", "2027-01-01 2028-01-01", "Z Z", "foo", "2027-01-01 (new year)", "1 2 3",
	"69-01-01", "68-01-01", "1-1-1", "0-1-1", "12000-01-01", "31 Jan 2027 + 1 month", "99999999999999999999", "TZ=\"UTC\" 2027-01-01", "2027-01-01 12:00 A", "2027-01-01 12:00 T",
	"2026-10-25 01:30", "2027-03-28 01:30", "2027-03-28 02:30",
}

// TestDatesAgainstCerttool compares dates at the place where they matter.
func TestDatesAgainstCerttool(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		w := newWorld(t)
		var jobs []*job
		for _, zone := range []string{"UTC", "Europe/London", "America/New_York"} {
			for _, d := range dates {
				if strings.Contains(d, `"`) {
					continue // cannot be said in quotes
				}
				jobs = append(jobs, w.job(t, d, action{"self", "ec", zone}, []byte("expiration_days = -1\nactivation_date = \""+d+"\"\n")))
			}
		}
		runCerttool(t, g, jobs)
		for _, j := range jobs {
			t.Run(fmt.Sprintf("%q", j.name), func(t *testing.T) {
				loc, err := time.LoadLocation(j.tz)
				if err != nil {
					t.Fatal(err)
				}
				text, _, _ := strings.Cut(j.name, "/self/ec")
				want := "refused: " + j.log
				if j.code == "0" {
					want = stamp(parse(t, action{name: "self"}, readFile(t, j.dir, "out.pem")).(*pki.Certificate).NotBefore)
				}
				compareDate(t, text, loc, want, j.from, j.to, func(seconds int64) string { return stamp(timeOf(seconds)) })
			})
		}
	})
}

func stamp(t time.Time) string {
	// UTCTime has no century: GnuTLS writes the years before 1950 all the same.
	return t.UTC().Format("06-01-02 15:04:05")
}

// compareDate judges our reading of a date by another one's, which was done
// between from and to.
func compareDate(t *testing.T, text string, loc *time.Location, want string, from, to time.Time, show func(int64) string) {
	t.Helper()
	var got string
	for now := from.Truncate(time.Second); !now.After(to); now = now.Add(time.Second) {
		seconds, ok := dateSeconds(text, now, loc)
		got = show(seconds)
		if !ok {
			got = "refused: "
		}
		if got == want || !ok && strings.HasPrefix(want, got) {
			return
		}
	}
	t.Errorf("%q in %s is %s, want %s", text, loc, got, want)
}

// dateParts are put together to dates at random. Fractions of a second are not
// among them, for the other side's clock is not known that well.
var dateParts = []string{
	"2027-01-01", "2028-02-29", "2027-02-30", "12:00", "12:00:00", "23:59:60", "0:0", "24:00", "+2 years", "2 years", "-3 days", "3 days ago",
	"yesterday", "tomorrow", "next month", "last month", "month", "UTC", "Z", "GMT", "EST", "EDT", "BST", "CET", "CEST", "DST", "+0100", "+01:00",
	"-05:30", "@12345", "Jan", "January", "5", "17", "2027", "JUN-17-1992", "17-JUN-1992", "6/17/2027", "2027/6/17", "6/17", "20270101", "1200", "12",
	"monday", "next monday", "last friday", "2 tuesday", "sunday,", "12pm", "12 am", "3 p.m.", "2027-01-01T12:00:00", "2027-01-01T12:00:00Z", "2027-01-01T12",
	"2027-01-01T12+01", "T", "now", "today", "fortnight", "3 weeks", "hence", "ago", "this", "first", "third day", "twelfth month", "(comment)", "-", "+", "/",
	":", ",", "A", "K", "Sept", "Sep.", "weeks", "noon", "2027-01-01 +1 day", "12:00 +2 hours", "99-1-1", "70-01-01", "68-12-31", "1.2", "+5", "1 2 3",
	"Thu", "THURS", "mst", "gmt+1", "UTC+02:30", "EST DST", "utc -3 days", "hour", "-1 hour", "90 minutes ago",
}

// TestDatesAgainstDate compares many dates with date(1), which reads them with
// the same function of gnulib as certtool.
func TestDatesAgainstDate(t *testing.T) {
	random := rand.New(rand.NewPCG(20, 27))
	var lines []string
	for range 3000 {
		var words []string
		for range 1 + random.IntN(4) {
			words = append(words, dateParts[random.IntN(len(dateParts))])
		}
		lines = append(lines, strings.Join(words, " "))
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		file := filepath.Join(t.TempDir(), "dates")
		writeFile(t, []byte(strings.Join(lines, "\n")+"\n"), file)
		for _, zone := range []string{"UTC", "Europe/London", "America/New_York", "Asia/Kolkata", "Australia/Sydney"} {
			loc, err := time.LoadLocation(zone)
			if err != nil {
				t.Fatal(err)
			}
			from := time.Now()
			r := g.Run(t, peertest.Options{Env: []string{"TZ=" + zone}}, "date", "-f", file, "+%s")
			to := time.Now()
			refused := map[string]bool{}
			for line := range strings.Lines(r.Stderr) {
				if text, ok := strings.CutPrefix(line, "date: invalid date '"); ok {
					refused[strings.TrimSuffix(text, "'\n")] = true
				}
			}
			results := strings.Fields(r.Stdout)
			for _, text := range lines {
				want := "refused: "
				if !refused[text] {
					seconds, err := strconv.ParseInt(results[0], 10, 64)
					if err != nil {
						t.Fatal(err)
					}
					want, results = sooner(seconds), results[1:]
				}
				compareDate(t, text, loc, want, from, to, sooner)
			}
		}
	})
}

// sooner shows seconds that a certificate could hold. For later ones the C
// library and Go do not agree on summer time.
func sooner(seconds int64) string {
	if seconds > tooLate {
		return "too late"
	}
	return strconv.FormatInt(seconds, 10)
}
