package certtemplate

import (
	"time"

	"virtls/pki"
)

// A Clock is the time and the place in which the dates of a template are read.
type Clock struct {
	Now time.Time // what relative dates count from

	// Today is the time that a date stands for which the template does not name,
	// and that numbers of days count from: certtool's --attime, which does not
	// change what relative dates count from. It is Now if zero.
	Today time.Time

	Location *time.Location // of dates that name no zone; time.Local if nil
}

func (c Clock) today() int64 {
	if c.Today.IsZero() {
		return c.Now.Unix()
	}
	return c.Today.Unix()
}

func (c Clock) location() *time.Location {
	if c.Location == nil {
		return time.Local
	}
	return c.Location
}

// ParseDate reads a date as certtool does, in the language of date(1): GNU's
// parse_datetime. It knows ISO 8601 and the other ways to write dates and
// times of day, names of months and days, offsets and names of zones, "+2
// years", "yesterday", "next month", @SECONDS. It does not know the prefix
// TZ="...".
//
// The result has whole seconds and is UTC. An error is certtool's.
func ParseDate(text string, c Clock) (time.Time, error) {
	seconds, err := parseDate(text, c)
	return time.Unix(seconds, 0).UTC(), err
}

func parseDate(text string, c Clock) (int64, error) {
	if seconds, ok := dateSeconds(text, c.Now, c.location()); ok {
		return seconds, nil
	}
	return 0, quit("Cannot parse date: %s", text)
}

// date returns the option's date, today if the template does not name it.
func (t *Template) date(name string, c Clock) (int64, error) {
	if e, ok := t.lookup(name); ok {
		return parseDate(e.Value, c)
	}
	return c.today(), nil
}

// The times that GnuTLS writes as the last one there is (RFC 5280, 4.1.2.5):
// minus one, which is how certtool says never, and all that come too near to
// the end of the year 9999.
const (
	never   = -1
	tooLate = 253402210800
)

// dateOrDays returns the option's date or, if there is none, that which is so
// many days from today. 365 days is what certtool takes for none, and for less
// than -2; -1 is never, and -2 is the day before yesterday.
func (t *Template) dateOrDays(date, days string, c Clock) (int64, error) {
	if t.has(date) {
		return t.date(date, c)
	}
	switch n := t.number(days, 0); {
	case n == never:
		return never, nil
	case n == 0 || n < -2:
		return c.today() + 365*secondsOfDay, nil
	default:
		return c.today() + int64(n)*secondsOfDay, nil
	}
}

const secondsOfDay = 24 * 60 * 60

// timeOf returns the time that GnuTLS writes for seconds. Years before 1950 it
// writes with their last two digits, which then stand for later ones.
func timeOf(seconds int64) time.Time {
	if seconds == never || seconds >= tooLate {
		return pki.NeverExpires
	}
	t := time.Unix(seconds, 0).UTC()
	if t.Year() >= 1950 {
		return t
	}
	year := 1900 + (t.Year()%100+100)%100
	if year < 1950 {
		year += 100
	}
	return time.Date(year, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
}

// Validity returns when a certificate begins and ends, which is all that
// certtool --update-certificate takes from a template.
func (t *Template) Validity(c Clock) (notBefore, notAfter time.Time, err error) {
	from, err := t.date("activation_date", c)
	if err != nil {
		return time.Time{}, time.Time{}, err
	}
	until, err := t.dateOrDays("expiration_date", "expiration_days", c)
	return timeOf(from), timeOf(until), err
}
