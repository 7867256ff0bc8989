package callback

// Jobs that have ended. MsgID is the job's.
type (
	TemplateSendJobFinishEvent struct {
		Header
		Status string // "success", "failed:user block", "failed: system failed"
	}
	MassSendJobFinishEvent struct {
		Header
		Status      string
		TotalCount  int
		FilterCount int // left after filtering
		SentCount   int
		ErrorCount  int
	}
	// A PublishJobFinishEvent: a draft was published, or not. Its Event is
	// PUBLISHJOBFINISH or, by some sources, FREEPUBLISHJOBFINISH.
	PublishJobFinishEvent struct {
		Header
		PublishID     string
		PublishStatus int    // 0 done, 2 to 6 not
		ArticleID     string // for a message of type mpnewsarticle
		Articles      []PublishedArticle
		FailIdx       []int // which articles were not original
	}
	// A MerchantOrderEvent is an order of the old WeChat shop (微信小店).
	MerchantOrderEvent struct {
		Header
		OrderID     string
		OrderStatus int
		ProductID   string
		SkuInfo     string
	}
)

// A PublishedArticle is one article of a published draft.
type PublishedArticle struct {
	Idx int
	URL string
}

// jobEvent reads an event that tells the end of a job; nil if name is none of those.
func (d document) jobEvent(h Header, name string) Event {
	switch name {
	case "templatesendjobfinish":
		return TemplateSendJobFinishEvent{h, d.text("Status")}
	case "masssendjobfinish":
		return MassSendJobFinishEvent{h, d.text("Status"), int(d.int("TotalCount")), int(d.int("FilterCount")), int(d.int("SentCount")), int(d.int("ErrorCount"))}
	case "publishjobfinish", "freepublishjobfinish":
		const info = "PublishEventInfo"
		e := PublishJobFinishEvent{Header: h, PublishID: d.text(info, "publish_id"), PublishStatus: int(d.int(info, "publish_status")), ArticleID: d.text(info, "article_id")}
		for i := range d.every("article_url") {
			e.Articles = append(e.Articles, PublishedArticle{int(integer(d.child(d[i].parent, "idx"))), d[i].text})
		}
		for i := range d.every("fail_idx") {
			e.FailIdx = append(e.FailIdx, int(integer(d[i].text)))
		}
		return e
	case "merchant_order":
		return MerchantOrderEvent{h, d.text("OrderId"), int(d.int("OrderStatus")), d.text("ProductId"), d.text("SkuInfo")}
	}
	return nil
}
