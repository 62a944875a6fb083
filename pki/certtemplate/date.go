package certtemplate

import "time"

// dateSeconds returns the seconds since 1970 that a date stands for, false if
// it stands for none. The steps are those of GNU's parse_datetime, for they
// show: which day "monday" is, what "1 month" makes of the 31st, and that a
// relative date keeps to the summer time of today.
func dateSeconds(text string, now time.Time, loc *time.Location) (int64, bool) {
	here := now.In(loc)
	p := &dateParser{
		tokens: dateTokens(text, localZones(now, loc)),
		year:   int64(here.Year()), month: int64(here.Month()), day: int64(here.Day()),
		hour: int64(here.Hour()), min: int64(here.Minute()), sec: int64(here.Second()), nanos: int64(here.Nanosecond()),
		pm: fullDay,
	}
	if !p.parse() {
		return 0, false
	}
	if p.timestamp {
		return p.sec, true
	}
	c, ok := p.civil()
	if !ok {
		return 0, false
	}
	c.dst = isDST(here)
	if p.dates+p.weekdays+p.times > 0 {
		c.dst = -1
	}
	if p.localZones > 0 {
		c.dst = p.localDST
	}
	start, exact := c.unix(loc)
	if !exact && p.zones > 0 {
		// The clock here skips that hour, but not where the date is meant.
		loc = time.FixedZone("", int(p.zone))
		start, exact = c.unix(loc)
	}
	if !exact {
		return 0, false
	}
	if p.weekdays > 0 && p.dates == 0 {
		start = c.addWeekdays(p.nth, p.weekday, start, loc)
	}
	if p.shift[years] != 0 || p.shift[months] != 0 || p.shift[days] != 0 {
		c.year += p.shift[years]
		c.month += p.shift[months]
		c.day += p.shift[days]
		if !c.bounded() {
			return 0, false
		}
		start, _ = c.unix(loc)
	}
	if p.zones > 0 {
		_, here := time.Unix(start, 0).In(loc).Zone()
		start -= p.zone - int64(here)
	}
	start += p.shift[hours]*hour + p.shift[minutes]*60 + p.shift[seconds]
	return start + floorSeconds(c.nanos+p.shiftNanos), true
}

func floorSeconds(nanos int64) int64 {
	s := nanos / 1e9
	if nanos%1e9 < 0 {
		s--
	}
	return s
}

// A civil time is what a calendar and a clock show. Its fields may be out of
// range, and then count on.
type civil struct {
	year, month, day, hour, min, sec, nanos int64
	dst                                     int64 // 1 in summer time, 0 outside, -1 if unknown
}

// maxCivil bounds the fields of a civil time, so that computing with it cannot overflow.
const maxCivil = 1 << 31

func (c *civil) bounded() bool {
	for _, n := range []int64{c.year, c.month, c.day, c.hour, c.min, c.sec} {
		if n > maxCivil || n < -maxCivil {
			return false
		}
	}
	return true
}

// civil returns the day and the time of day that were said. Midnight is meant
// where no time was said, unless the date is only relative to now.
func (p *dateParser) civil() (c civil, ok bool) {
	c = civil{year: p.year, month: p.month, day: p.day}
	switch {
	case c.year < 0:
		c.year = -c.year
	case p.yearDigits == 2 && c.year < 69:
		c.year += 2000
	case p.yearDigits == 2:
		c.year += 1900
	}
	if p.times > 0 || p.relative && p.dates == 0 && p.weekdays == 0 {
		if c.hour, ok = hourOfDay(p.hour, p.pm); !ok {
			return c, false
		}
		c.min, c.sec, c.nanos = p.min, p.sec, p.nanos
	}
	return c, c.bounded()
}

func hourOfDay(h, pm int64) (int64, bool) {
	switch {
	case pm == fullDay:
		return h, 0 <= h && h < 24
	case h == 12:
		return pm, true
	}
	return h + pm, 0 < h && h < 12
}

// addWeekdays moves to the weekday that is meant: the next one, today
// included, or the nth from today on. It returns the new start.
func (c *civil) addWeekdays(nth, weekday, start int64, loc *time.Location) int64 {
	today := int64(time.Unix(start, 0).In(loc).Weekday())
	if nth > 0 && today != weekday {
		nth--
	}
	moved := *c
	moved.day += (weekday-today+7)%7 + 7*nth
	moved.dst = -1
	start, _ = moved.unix(loc)
	there := time.Unix(start, 0).In(loc)
	c.year, c.month, c.day = int64(there.Year()), int64(there.Month()), int64(there.Day())
	return start
}

// unix returns the seconds since 1970, as mktime does. It is not exact if the
// place's clock never shows that time, or if a field is out of range. Of two
// times when the clock shows the same, it is the one that is found first from
// Greenwich's clock, unless summer time tells them apart.
func (c *civil) unix(loc *time.Location) (seconds int64, exact bool) {
	want := time.Date(int(c.year), time.Month(c.month), int(c.day), int(c.hour), int(c.min), int(c.sec), 0, time.UTC)
	inRange := want.Year() == int(c.year) && want.Month() == time.Month(c.month) && want.Day() == int(c.day) &&
		want.Hour() == int(c.hour) && want.Minute() == int(c.min) && want.Second() == int(c.sec)
	shown := func(t int64) int64 {
		_, offset := time.Unix(t, 0).In(loc).Zone()
		return t + int64(offset)
	}
	t := want.Unix()
	for range 6 {
		t += want.Unix() - shown(t)
	}
	if c.dst >= 0 && isDST(time.Unix(t, 0).In(loc)) != c.dst {
		var found bool
		if t, found = otherSeason(t, want.Unix(), c.dst, loc); !found {
			return t, false
		}
	}
	return t, inRange && shown(t) == want.Unix()
}

// otherSeason returns the time at which a clock that keeps to summer time, or
// to winter time, shows want: with the offset that is in force nearest to t,
// if there is one within eight and a half years.
func otherSeason(t, want, dst int64, loc *time.Location) (seconds int64, found bool) {
	const step, far = 601200, 536454000/2 + 601200 // what GNU's mktime has
	for delta := int64(step); delta < far; delta += step {
		for _, near := range []int64{t - delta, t + delta} {
			if at := time.Unix(near, 0).In(loc); isDST(at) == dst {
				_, offset := at.Zone()
				return want - int64(offset), true
			}
		}
	}
	return t, false
}

// dateIsLocal reports whether a date says a day or a time of day, and no zone
// for it.
func dateIsLocal(text string) bool {
	p := &dateParser{tokens: dateTokens(text, nil), pm: fullDay}
	return p.parse() && !p.timestamp && p.dates+p.times+p.weekdays > 0 && p.zones+p.localZones == 0
}
