// Package failpoint names the places at which a test has the process die. In a
// binary built without the tag "failpoint" they cost nothing and do nothing.
//
//	go build -tags failpoint ./cmd/kefu
//	KEFU_FAILPOINT=begin.kept:3 kefu serve   # killed (-9) when it comes there the third time
package failpoint

// Names are all there are; Here panics on another, where there are any.
var Names = []string{
	"accept.kept",   // messages are on disk, nobody was told so
	"begin.kept",    // a message is marked as sending, its post has not left
	"post.answered", // WeChat has answered, nothing of that is kept
	"finish.kept",   // what came of a post is on disk, the lane does not know
	"move.kept",     // a message was parked, expired or let in
	"release.kept",  // parked messages were let out
	"receive.kept",  // a callback is on disk, WeChat was not told so
	"commit.before", // a transaction is about to be committed
	"commit.after",  // a transaction is committed, its callers don't know
	"view.before",   // the views are about to follow the feed
	"recover.one",   // a start has ended one message that was on its way
}
