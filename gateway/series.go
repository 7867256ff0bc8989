package gateway

// A Series is what happened over time, counted from the feed.
type Series struct {
	From       Time           `json:"from"` // later than asked for if there is too much to count
	Step       Seconds        `json:"step"` // of each point
	Points     []SeriesPoint  `json:"points"`
	ErrCodes   []ErrCodeCount `json:"errcodes"`   // of all attempts, the most frequent first
	Unfinished map[State]int  `json:"unfinished"` // messages that are queued, parked, sending or unknown now
}

// A SeriesPoint counts what began at At and within one step.
type SeriesPoint struct {
	At       Time `json:"at"`
	Accepted int  `json:"accepted"`
	Sent     int  `json:"sent"`
	Parked   int  `json:"parked"`
	Failed   int  `json:"failed"`
	Unknown  int  `json:"unknown"`
	Expired  int  `json:"expired"`
	Canceled int  `json:"canceled"`
	Heard    int  `json:"heard"`  // what followers wrote and did
	Opened   int  `json:"opened"` // of these: what opened a window, or opened it anew

	// Took counts the attempts that ended by how long WeChat took, or was waited for:
	// less than 10 ms, than 100 ms, than a second, and longer.
	Took [4]int `json:"took"`

	// Left counts the attempts that took a message from an allowance by how many more
	// could be sent then: none, one, and more. Refused ones took none; those of a window
	// that is unknown or has no limit, and those that a crash ended, are not counted.
	Left [3]int `json:"left"`
}

// An ErrCodeCount is how often WeChat answered with an errcode.
type ErrCodeCount struct {
	ErrCode int `json:"errcode"`
	Count   int `json:"count"`
}
