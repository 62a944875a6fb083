package certtemplate

// A dateParser reads the items of a date in any order and adds up what they say.
// Where two readings are possible it takes the longer one, as the parser that
// GNU generates from its grammar does.
type dateParser struct {
	tokens []token
	pos    int

	year       int64
	yearDigits int // 0 as long as the text has not named the year
	month, day int64
	hour, min  int64
	sec, nanos int64
	pm         int64 // what an hour of 1 to 12 is raised by, or -1 for a day of 24 hours
	timestamp  bool  // sec and nanos are the result

	dates, times, weekdays, dsts, zones, localZones int // how often each was said

	zone       int64 // seconds east of Greenwich
	localDST   int64
	weekday    int64
	nth        int64 // of the weekday, counted from the day that is said or from today
	relative   bool
	shift      [seconds + 1]int64
	shiftNanos int64
}

// fullDay is the pm of a time that is said with 0 to 23 hours.
const fullDay = -1

func (p *dateParser) peek() tokenKind { return p.tokens[p.pos].kind }

func (p *dateParser) take() token {
	t := p.tokens[p.pos]
	if t.kind != endToken {
		p.pos++
	}
	return t
}

// accept takes the next token if it is of that kind.
func (p *dateParser) accept(kind tokenKind) (token, bool) {
	if p.peek() != kind {
		return token{}, false
	}
	return p.take(), true
}

func (p *dateParser) acceptChar(c byte) bool {
	if p.peek() != charToken || p.tokens[p.pos].value != int64(c) {
		return false
	}
	p.pos++
	return true
}

// parse reads everything, and is false if it has no meaning.
func (p *dateParser) parse() bool {
	if p.acceptChar('@') {
		return p.epoch()
	}
	for p.peek() != endToken {
		if !p.item() {
			return false
		}
	}
	for _, n := range []int{p.dates, p.times, p.weekdays, p.dsts, p.zones + p.localZones} {
		if n > 1 {
			return false
		}
	}
	return true
}

func (p *dateParser) epoch() bool {
	switch t := p.take(); t.kind {
	case numberToken, signedToken, decimalToken:
		p.sec, p.nanos, p.timestamp = t.value, t.nanos, true
	default:
		return false
	}
	return p.peek() == endToken
}

func (p *dateParser) item() bool {
	switch t := p.take(); t.kind {
	case numberToken:
		return p.numberItem(t)
	case monthToken:
		return p.monthItem(t)
	case dayToken:
		p.acceptChar(',')
		return p.nthWeekday(0, t)
	case ordinalToken:
		if d, ok := p.accept(dayToken); ok {
			return p.nthWeekday(t.value, d)
		}
		return p.span(t)
	case signedToken, decimalToken:
		return p.span(t)
	case unitToken:
		p.pos--
		return p.span(token{value: 1})
	case dayShiftToken:
		return p.add(token{value: t.value}, token{unit: days, value: 1})
	case localZoneToken:
		p.localZones++
		p.localDST = t.value
		if _, ok := p.accept(dstToken); ok {
			p.localDST = 1
			p.dsts++
		}
		return true
	case zoneToken, dayZoneToken, letterTToken:
		return p.zoneItem(t)
	}
	return false
}

// numberItem reads what begins with a number without a sign: a time, a date,
// a span, a weekday, or digits that are a date or a time by their length.
func (p *dateParser) numberItem(t token) bool {
	switch p.peek() {
	case meridianToken:
		p.times++
		p.hour, p.min, p.sec, p.nanos = t.value, 0, 0, 0
		p.pm = p.take().value
		return true
	case monthToken:
		return p.dayMonth(t)
	case dayToken:
		return p.nthWeekday(t.value, p.take())
	case unitToken:
		return p.span(t)
	case signedToken:
		return p.signed(t)
	}
	switch {
	case p.acceptChar(':'):
		p.times++
		return p.clock(t, true)
	case p.acceptChar('/'):
		return p.slashes(t)
	}
	p.digits(t)
	return true
}

// signed reads a number and what has a sign behind it: the rest of an ISO
// date, an offset from Greenwich behind an hour, or a span behind digits.
func (p *dateParser) signed(t token) bool {
	s := p.take()
	if u, ok := p.accept(unitToken); ok {
		p.digits(t)
		return p.add(s, u)
	}
	if d, ok := p.accept(signedToken); ok {
		p.dates++
		p.year, p.yearDigits = t.value, t.digits
		p.month, p.day = -s.value, -d.value
		if _, ok := p.accept(letterTToken); ok {
			p.times++
			return p.isoTime()
		}
		return true
	}
	p.times++
	p.hour, p.min, p.sec, p.nanos, p.pm = t.value, 0, 0, 0, fullDay
	return p.offset(s)
}

// isoTime reads the time behind the letter T of an ISO date.
func (p *dateParser) isoTime() bool {
	t, ok := p.accept(numberToken)
	if !ok {
		return false
	}
	if p.acceptChar(':') {
		return p.clock(t, false)
	}
	p.hour, p.min, p.sec, p.nanos, p.pm = t.value, 0, 0, 0, fullDay
	s, ok := p.accept(signedToken)
	return ok && p.offset(s)
}

// clock reads minutes and perhaps seconds behind an hour and a colon.
func (p *dateParser) clock(t token, meridian bool) bool {
	m, ok := p.accept(numberToken)
	if !ok {
		return false
	}
	p.hour, p.min, p.sec, p.nanos, p.pm = t.value, m.value, 0, 0, fullDay
	if p.acceptChar(':') {
		s := p.take()
		if s.kind != numberToken && (s.kind != decimalToken || s.signed) {
			return false
		}
		p.sec, p.nanos = s.value, s.nanos
	}
	if m, ok := p.accept(meridianToken); ok && meridian {
		p.pm = m.value
		return true
	} else if ok {
		return false
	}
	if s, ok := p.accept(signedToken); ok {
		return p.offset(s)
	}
	return true
}

// offset reads an offset from Greenwich: +01, +0100 or +01:00.
func (p *dateParser) offset(s token) bool {
	p.zones++
	var ok bool
	p.zone, ok = p.offsetSeconds(s)
	return ok
}

func (p *dateParser) offsetSeconds(s token) (int64, bool) {
	const dayMinutes = 24 * 60
	if s.value > 1e6 || s.value < -1e6 {
		return 0, false
	}
	var m int64
	switch {
	case p.acceptChar(':'):
		t, ok := p.accept(numberToken)
		if !ok || t.value > dayMinutes {
			return 0, false
		}
		m = t.value
		if s.negative {
			m = -m
		}
		m += s.value * 60
	case s.digits <= 2:
		m = s.value * 60
	default:
		m = s.value/100*60 + s.value%100
	}
	return m * 60, -dayMinutes <= m && m <= dayMinutes
}

// zoneItem reads the name of a zone and what may follow it.
func (p *dateParser) zoneItem(t token) bool {
	p.zones++
	p.zone = t.value
	switch t.kind {
	case letterTToken:
		p.zone = -7 * hour
	case dayZoneToken:
		p.zone += hour
		return true
	}
	if _, ok := p.accept(dstToken); ok && t.kind == zoneToken {
		p.zone += hour
		return true
	} else if ok {
		return false
	}
	s, ok := p.accept(signedToken)
	if !ok {
		return true
	}
	if u, ok := p.accept(unitToken); ok {
		return p.add(s, u)
	}
	more, ok := p.offsetSeconds(s)
	p.zone += more
	return ok && t.kind == zoneToken
}

// slashes reads a date as Americans write it, month first, unless the first
// number is as long as a year.
func (p *dateParser) slashes(t token) bool {
	p.dates++
	second, ok := p.accept(numberToken)
	if !ok {
		return false
	}
	p.month, p.day = t.value, second.value
	if !p.acceptChar('/') {
		return true
	}
	third, ok := p.accept(numberToken)
	if ok && t.digits >= 4 {
		p.year, p.yearDigits = t.value, t.digits
		p.month, p.day = second.value, third.value
	} else {
		p.year, p.yearDigits = third.value, third.digits
	}
	return ok
}

// dayMonth reads "17 June", "17 June 1992" and "17-JUN-1992".
func (p *dateParser) dayMonth(t token) bool {
	p.dates++
	p.day, p.month = t.value, p.take().value
	if y, ok := p.accept(signedToken); ok {
		p.year, p.yearDigits = -y.value, y.digits
	} else if y, ok := p.accept(numberToken); ok {
		p.year, p.yearDigits = y.value, y.digits
	}
	return true
}

// monthItem reads "June 17", "June 17, 1992" and "JUN-17-1992".
func (p *dateParser) monthItem(t token) bool {
	p.dates++
	p.month = t.value
	if d, ok := p.accept(signedToken); ok {
		y, ok := p.accept(signedToken)
		p.day, p.year, p.yearDigits = -d.value, -y.value, y.digits
		return ok
	}
	d, ok := p.accept(numberToken)
	if !ok {
		return false
	}
	p.day = d.value
	if !p.acceptChar(',') {
		return true
	}
	y, ok := p.accept(numberToken)
	p.year, p.yearDigits = y.value, y.digits
	return ok
}

func (p *dateParser) nthWeekday(nth int64, d token) bool {
	p.weekdays++
	p.nth, p.weekday = nth, d.value
	return true
}

// span reads a unit, and "ago" behind it, for a number or ordinal.
func (p *dateParser) span(t token) bool {
	u, ok := p.accept(unitToken)
	if !ok || t.kind == decimalToken && u.unit != seconds {
		return false
	}
	if a, ok := p.accept(agoToken); ok && a.value < 0 {
		t.value, t.nanos = -t.value, -t.nanos
	}
	return p.add(t, u)
}

// maxShift bounds what relative dates may add up to, far beyond any year that
// a certificate can hold, so that nothing overflows.
const maxShift = 1 << 40

func (p *dateParser) add(t, u token) bool {
	p.relative = true
	if t.value > maxShift || t.value < -maxShift {
		return false
	}
	p.shift[u.unit] += t.value * u.value
	p.shiftNanos += t.nanos
	return -maxShift < p.shift[u.unit] && p.shift[u.unit] < maxShift
}

// digits judges a number that stands for itself by its length: the year
// behind a date, a date of more than four digits, else a time.
func (p *dateParser) digits(t token) {
	switch {
	case p.dates > 0 && p.yearDigits == 0 && !p.relative && (p.times > 0 || t.digits > 2):
		p.year, p.yearDigits = t.value, t.digits
	case t.digits > 4:
		p.dates++
		p.year, p.yearDigits = t.value/10000, t.digits-4
		p.month, p.day = t.value/100%100, t.value%100
	default:
		p.times++
		p.hour, p.min = t.value, 0
		if t.digits > 2 {
			p.hour, p.min = t.value/100, t.value%100
		}
		p.sec, p.nanos, p.pm = 0, 0, fullDay
	}
}
