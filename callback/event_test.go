package callback

import (
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
)

const textPush = `<xml><ToUserName><![CDATA[gh_1234567890ab]]></ToUserName>
<FromUserName><![CDATA[oABCD1234567890abcdefghijklm]]></FromUserName>
<CreateTime>1348831860</CreateTime>
<MsgType><![CDATA[text]]></MsgType>
<Content><![CDATA[this is a test]]></Content>
<MsgId>1234567890123456</MsgId>
</xml>`

// push makes an event push of what is special in it.
func push(event, fields string) string {
	return `<xml><ToUserName>gh_1</ToUserName><FromUserName>oUser1</FromUserName><CreateTime>1408090502</CreateTime>` +
		`<MsgType>event</MsgType><Event>` + event + `</Event>` + fields + `</xml>`
}

// Every sample parses into its type and opens what the contract says.
func TestSamples(t *testing.T) {
	want := map[string]struct {
		event   Event
		trigger kefu.Trigger
	}{
		"msg_text.xml":                     {TextMessage{}, kefu.UserMessage},
		"msg_text_from_article.xml":        {TextMessage{}, kefu.UserMessage},
		"msg_text_msgmenu_click.xml":       {TextMessage{}, kefu.Menu},
		"msg_image.xml":                    {ImageMessage{}, kefu.UserMessage},
		"msg_voice.xml":                    {VoiceMessage{}, kefu.UserMessage},
		"msg_voice_16k.xml":                {VoiceMessage{}, kefu.UserMessage},
		"msg_voice_recognition_legacy.xml": {VoiceMessage{}, kefu.UserMessage},
		"msg_video.xml":                    {VideoMessage{}, kefu.UserMessage},
		"msg_shortvideo.xml":               {VideoMessage{}, kefu.UserMessage},
		"msg_location.xml":                 {LocationMessage{}, kefu.UserMessage},
		"msg_link.xml":                     {LinkMessage{}, kefu.UserMessage},
		"msg_miniprogrampage_miniprogram_account_only.xml": {MiniProgramPageMessage{}, kefu.UserMessage},
		"push_text.json": {TextMessage{}, kefu.UserMessage},

		"event_subscribe.xml":         {SubscribeEvent{}, kefu.Follow},
		"event_subscribe_qrscene.xml": {SubscribeEvent{}, kefu.Follow},
		"push_event_subscribe.json":   {SubscribeEvent{}, kefu.Follow},
		"event_unsubscribe.xml":       {UnsubscribeEvent{}, kefu.Unfollow},
		"event_scan.xml":              {ScanEvent{}, kefu.Scan},
		"event_click.xml":             {ClickEvent{}, kefu.Menu},
		"event_scancode_push.xml":     {ScanCodeEvent{}, kefu.Menu},
		"event_scancode_waitmsg.xml":  {ScanCodeEvent{}, kefu.Menu},

		"event_location.xml":                           {LocationEvent{}, ""},
		"event_view.xml":                               {ViewEvent{}, ""},
		"event_view_miniprogram.xml":                   {ViewEvent{}, ""},
		"event_pic_sysphoto.xml":                       {PicsEvent{}, ""},
		"event_pic_photo_or_album.xml":                 {PicsEvent{}, ""},
		"event_pic_weixin.xml":                         {PicsEvent{}, ""},
		"event_location_select.xml":                    {LocationSelectEvent{}, ""},
		"event_kf_create_session.xml":                  {KfCreateSessionEvent{}, ""},
		"event_kf_close_session.xml":                   {KfCloseSessionEvent{}, ""},
		"event_kf_switch_session.xml":                  {KfSwitchSessionEvent{}, ""},
		"event_user_enter_tempsession_miniprogram.xml": {UserEnterTempSessionEvent{}, ""},
		"event_templatesendjobfinish.xml":              {TemplateSendJobFinishEvent{}, ""},
		"event_masssendjobfinish.xml":                  {MassSendJobFinishEvent{}, ""},
		"event_publishjobfinish.xml":                   {PublishJobFinishEvent{}, ""},
		"event_merchant_order_legacy.xml":              {MerchantOrderEvent{}, ""},
		"event_user_get_card.xml":                      {UserGetCardEvent{}, ""},
		"event_user_del_card.xml":                      {UserDelCardEvent{}, ""},
		"event_user_consume_card.xml":                  {UserConsumeCardEvent{}, ""},
		"event_user_pay_from_pay_cell.xml":             {UserPayFromPayCellEvent{}, ""},
		"event_user_enter_session_from_card.xml":       {UserEnterSessionFromCardEvent{}, ""},
		"event_card_pass_check.xml":                    {CardPassCheckEvent{}, ""},
		"event_card_not_pass_check.xml":                {CardNotPassCheckEvent{}, ""},
		"event_user_authorization_revoke.xml":          {UserAuthorizationRevokeEvent{}, ""},
		"push_event_debug_demo.json":                   {Unknown{}, ""},
	}
	all := samples(t, "msg_*.xml", "event_*.xml", "push_*.json")
	for name := range want {
		if all[name] == "" {
			t.Errorf("no sample %s", name)
		}
	}
	for name, body := range all {
		t.Run(name, func(t *testing.T) {
			want, ok := want[name]
			if !ok {
				t.Fatal("this sample is not in the table")
			}
			e, err := Parse([]byte(body))
			if err != nil {
				t.Fatal(err)
			}
			if reflect.TypeOf(e) != reflect.TypeOf(want.event) || e.Trigger() != want.trigger {
				t.Errorf("%T opening %q, want %T opening %q", e, e.Trigger(), want.event, want.trigger)
			}
			h := e.Head()
			if string(h.Body()) != body || !strings.HasPrefix(h.ToUserName, "gh_") || !strings.HasPrefix(h.FromUserName, "o") || h.CreateTime.Unix() < 1e9 {
				t.Errorf("header %#v", h)
			}
		})
	}
}

// Each field comes from the element of its name.
func TestFields(t *testing.T) {
	var h Header
	card := Card{"CARD", "CODE"}
	const cardFields = `<CardId>CARD</CardId><UserCardCode>CODE</UserCardCode>`
	auth := Authorization{"oUser2", "wx1", "1,2"}
	const authFields = `<OpenID>oUser2</OpenID><AppID>wx1</AppID><RevokeInfo>1,2</RevokeInfo>`
	at := func(s int64) time.Time { return time.Unix(s, 0).UTC() }
	for _, tt := range []struct {
		event, fields string
		want          Event
	}{
		{"subscribe", `<EventKey>qrscene_7</EventKey><Ticket>T</Ticket>`, SubscribeEvent{h, "7", "T"}},
		{"Subscribe", `<EventKey/>`, SubscribeEvent{h, "", ""}},
		{"scan", `<EventKey>7</EventKey><Ticket>T</Ticket>`, ScanEvent{h, "7", "T"}},
		{"location", `<Latitude>23.137466</Latitude><Longitude>-113.352425</Longitude><Precision>119.385040</Precision>`, LocationEvent{h, 23.137466, -113.352425, 119.38504}},
		{"view", `<EventKey>http://a/?b&amp;c</EventKey><MenuId>410418124</MenuId>`, ViewEvent{h, "410418124"}},
		{"scancode_push", `<ScanCodeInfo><ScanType>qrcode</ScanType><ScanResult>R</ScanResult></ScanCodeInfo>`, ScanCodeEvent{h, "qrcode", "R"}},
		{"pic_weixin", `<SendPicsInfo><Count>2</Count><PicList><item><PicMd5Sum>A</PicMd5Sum></item><item><PicMd5Sum>B</PicMd5Sum></item></PicList></SendPicsInfo>`, PicsEvent{h, 2, []string{"A", "B"}}},
		{"location_select", `<SendLocationInfo><Location_X>23</Location_X><Location_Y>113.5</Location_Y><Scale>15</Scale><Label>L</Label><Poiname>P</Poiname></SendLocationInfo>`, LocationSelectEvent{h, Place{23, 113.5, 15, "L"}, "P"}},
		{"kf_create_session", `<KfAccount>a@b</KfAccount>`, KfCreateSessionEvent{h, "a@b"}},
		{"kf_close_session", `<KfAccount>a@b</KfAccount><CloseType>KF</CloseType>`, KfCloseSessionEvent{h, "a@b", "KF"}},
		{"kf_switch_session", `<FromKfAccount>a@b</FromKfAccount><ToKfAccount>c@b</ToKfAccount>`, KfSwitchSessionEvent{h, "a@b", "c@b"}},
		{"user_enter_tempsession", `<SessionFrom>F</SessionFrom>`, UserEnterTempSessionEvent{h, "F"}},
		{"TEMPLATESENDJOBFINISH", `<Status>failed:user block</Status>`, TemplateSendJobFinishEvent{h, "failed:user block"}},
		{"MASSSENDJOBFINISH", `<Status>S</Status><TotalCount>1</TotalCount><FilterCount>2</FilterCount><SentCount>3</SentCount><ErrorCount>4</ErrorCount>`, MassSendJobFinishEvent{h, "S", 1, 2, 3, 4}},
		{"PUBLISHJOBFINISH", `<PublishEventInfo><publish_id>9</publish_id><publish_status>0</publish_status><article_id>A</article_id><article_detail><count>2</count><item><idx>1</idx><article_url>U1</article_url></item><item><idx>2</idx><article_url>U2</article_url></item></article_detail></PublishEventInfo>`,
			PublishJobFinishEvent{h, "9", 0, "A", []PublishedArticle{{1, "U1"}, {2, "U2"}}, nil}},
		{"FREEPUBLISHJOBFINISH", `<PublishEventInfo><publish_id>9</publish_id><publish_status>2</publish_status><fail_idx>1</fail_idx><fail_idx>2</fail_idx></PublishEventInfo>`, PublishJobFinishEvent{h, "9", 2, "", nil, []int{1, 2}}},
		{"merchant_order", `<OrderId>O</OrderId><OrderStatus>2</OrderStatus><ProductId>P</ProductId><SkuInfo>S</SkuInfo>`, MerchantOrderEvent{h, "O", 2, "P", "S"}},
		{"user_get_card", cardFields + `<IsGiveByFriend>1</IsGiveByFriend><FriendUserName>F</FriendUserName><OldUserCardCode>OLD</OldUserCardCode><OuterId>7</OuterId><OuterStr>S</OuterStr><IsRestoreMemberCard>0</IsRestoreMemberCard><IsRecommendByFriend>1</IsRecommendByFriend>`,
			UserGetCardEvent{h, card, true, "F", "OLD", "7", "S", false, true}},
		{"user_gifting_card", cardFields + `<IsReturnBack>0</IsReturnBack><FriendUserName>F</FriendUserName><IsChatRoom>1</IsChatRoom>`, UserGiftingCardEvent{h, card, false, "F", true}},
		{"user_del_card", cardFields, UserDelCardEvent{h, card}},
		{"user_consume_card", cardFields + `<ConsumeSource>C</ConsumeSource><LocationName>L</LocationName><StaffOpenId>oStaff</StaffOpenId><VerifyCode>V</VerifyCode><RemarkAmount>R</RemarkAmount><OuterStr>S</OuterStr>`, UserConsumeCardEvent{h, card, "C", "L", "oStaff", "V", "R", "S"}},
		{"user_view_card", cardFields + `<OuterStr>S</OuterStr>`, UserViewCardEvent{h, card, "S"}},
		{"user_pay_from_pay_cell", cardFields + `<TransId>T</TransId><LocationId>291</LocationId><Fee>10000</Fee><OriginalFee>12000</OriginalFee>`, UserPayFromPayCellEvent{h, card, "T", "291", 10000, 12000}},
		{"user_enter_session_from_card", cardFields, UserEnterSessionFromCardEvent{h, card}},
		{"card_pass_check", cardFields, CardPassCheckEvent{h, card}},
		{"card_not_pass_check", cardFields + `<RefuseReason>R</RefuseReason>`, CardNotPassCheckEvent{h, card, "R"}},
		{"update_member_card", cardFields + `<ModifyBonus>3</ModifyBonus><ModifyBalance>-5</ModifyBalance>`, UpdateMemberCardEvent{h, card, 3, -5}},
		{"card_sku_remind", cardFields + `<Detail>D</Detail>`, CardSkuRemindEvent{h, card, "D"}},
		{"card_pay_order", `<OrderId>O</OrderId><Status>ORDER_STATUS_FINANCE_SUCC</Status><CreateOrderTime>1472193456</CreateOrderTime><PayFinishTime>1472193457</PayFinishTime><Desc>D</Desc><FreeCoinCount>1</FreeCoinCount><PayCoinCount>2</PayCoinCount><RefundFreeCoinCount>3</RefundFreeCoinCount><RefundPayCoinCount>4</RefundPayCoinCount><OrderType>ORDER_TYPE_WXPAY</OrderType><Memo>M</Memo><ReceiptInfo>R</ReceiptInfo>`,
			CardPayOrderEvent{h, "O", "ORDER_STATUS_FINANCE_SUCC", at(1472193456), at(1472193457), "D", 1, 2, 3, 4, "ORDER_TYPE_WXPAY", "M", "R"}},
		{"submit_membercard_user_info", cardFields, SubmitMembercardUserInfoEvent{h, card}},
		{"user_authorization_revoke", authFields, UserAuthorizationRevokeEvent{h, auth}},
		{"user_info_modified", authFields, UserInfoModifiedEvent{h, auth}},
		{"subscribe_msg_popup_event", `<SubscribeMsgPopupEvent><List><TemplateId>A</TemplateId><SubscribeStatusString>accept</SubscribeStatusString><PopupScene>2</PopupScene></List><List><TemplateId>B</TemplateId><SubscribeStatusString>reject</SubscribeStatusString><PopupScene>0</PopupScene></List></SubscribeMsgPopupEvent>`,
			SubscribeMsgPopupEvent{h, []SubscribeMsg{{TemplateID: "A", SubscribeStatusString: "accept", PopupScene: "2"}, {TemplateID: "B", SubscribeStatusString: "reject", PopupScene: "0"}}}},
		{"subscribe_msg_change_event", `<SubscribeMsgChangeEvent><List><TemplateId>A</TemplateId><SubscribeStatusString>reject</SubscribeStatusString></List></SubscribeMsgChangeEvent>`,
			SubscribeMsgChangeEvent{h, []SubscribeMsg{{TemplateID: "A", SubscribeStatusString: "reject"}}}},
		{"subscribe_msg_sent_event", `<SubscribeMsgSentEvent><List><TemplateId>A</TemplateId><MsgID>1700827132819554304</MsgID><ErrorCode>3</ErrorCode><ErrorStatus>failed</ErrorStatus></List></SubscribeMsgSentEvent>`,
			SubscribeMsgSentEvent{h, []SubscribeMsg{{TemplateID: "A", MsgID: "1700827132819554304", ErrorCode: 3, ErrorStatus: "failed"}}}},
		{"brand_new_event", `<Anything>1</Anything>`, Unknown{h}},
	} {
		t.Run(tt.event, func(t *testing.T) {
			got, err := Parse([]byte(push(tt.event, tt.fields)))
			if err != nil {
				t.Fatal(err)
			}
			want := withHeader(tt.want, func(h *Header) { *h = got.Head() })
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %#v\nwant %#v", got, want)
			}
		})
	}
}

func TestMessageFields(t *testing.T) {
	var h Header
	for _, tt := range []struct {
		msgType, fields string
		want            Event
	}{
		{"text", `<Content> x </Content><bizmsgmenuid>101</bizmsgmenuid>`, TextMessage{h, " x ", "101"}},
		{"image", `<PicUrl>P</PicUrl><MediaId>M</MediaId>`, ImageMessage{h, "P", "M"}},
		{"voice", `<MediaId>M</MediaId><Format>amr</Format><MediaId16K>K</MediaId16K><Recognition>R</Recognition>`, VoiceMessage{h, "M", "amr", "K", "R"}},
		{"shortvideo", `<MediaId>M</MediaId><ThumbMediaId>T</ThumbMediaId>`, VideoMessage{h, "M", "T"}},
		{"location", `<Location_X>23.1</Location_X><Location_Y>113.3</Location_Y><Scale>20</Scale><Label>L</Label>`, LocationMessage{h, Place{23.1, 113.3, 20, "L"}}},
		{"location", `<Location_X>NaN</Location_X><Location_Y>1e999</Location_Y><Scale>many</Scale>`, LocationMessage{h, Place{}}},
		{"link", `<Title>T</Title><Description>D</Description><Url>U</Url>`, LinkMessage{h, "T", "D", "U"}},
		{"miniprogrampage", `<Title>T</Title><AppId>A</AppId><PagePath>P</PagePath><ThumbUrl>U</ThumbUrl><ThumbMediaId>M</ThumbMediaId>`, MiniProgramPageMessage{h, "T", "A", "P", "U", "M"}},
		{"hologram", ``, Unknown{h}},
	} {
		t.Run(tt.msgType, func(t *testing.T) {
			got, err := Parse([]byte(`<xml><MsgType>` + tt.msgType + `</MsgType>` + tt.fields + `<MsgId>1</MsgId></xml>`))
			if err != nil {
				t.Fatal(err)
			}
			want := withHeader(tt.want, func(h *Header) { *h = got.Head() })
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %#v\nwant %#v", got, want)
			}
		})
	}
}

func TestHeader(t *testing.T) {
	head := func(body string) Header {
		t.Helper()
		return must(Parse([]byte(body))).Head()
	}
	msgID := func(value string) int64 { return head(`{"MsgType":"text","MsgId":` + value + `}`).MsgID }
	for value, want := range map[string]int64{
		"1234567890123456": 1234567890123456, "9007199254740993": 9007199254740993, // not a float
		"9223372036854775807": 1<<63 - 1, `"9223372036854775807"`: 1<<63 - 1, `" 7 "`: 7, `"x"`: 0, "null": 0, "9223372036854775808": 0,
	} {
		if got := msgID(value); got != want {
			t.Errorf("MsgId %s: %d, want %d", value, got, want)
		}
	}
	created := func(value string) time.Time {
		return head(`<xml><MsgType>text</MsgType><CreateTime>` + value + `</CreateTime></xml>`).CreateTime
	}
	for value, want := range map[string]string{
		"1348831860": "2012-09-28T11:31:00Z", "253402300799": "9999-12-31T23:59:59Z", "253402300800": "0001-01-01T00:00:00Z",
		"0": "0001-01-01T00:00:00Z", "-1": "0001-01-01T00:00:00Z", "soon": "0001-01-01T00:00:00Z", "": "0001-01-01T00:00:00Z",
	} {
		if got := created(value).Format(time.RFC3339); got != want {
			t.Errorf("CreateTime %q: %s, want %s", value, got, want)
		}
	}
	if h := head(samples(t, "msg_text_from_article.xml")["msg_text_from_article.xml"]); h.MsgDataID != "2247483650" || h.Idx != 1 {
		t.Errorf("from an article: %q, %d", h.MsgDataID, h.Idx)
	}
	if h := head(samples(t, "event_masssendjobfinish.xml")["event_masssendjobfinish.xml"]); h.MsgID != 1000001625 {
		t.Errorf("MsgID of the job: %d", h.MsgID)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ name, body, want string }{
		{"no MsgType", `<xml><Content>x</Content></xml>`, "no MsgType"},
		{"empty MsgType", `{"MsgType":""}`, "no MsgType"},
		{"an encrypted push", `<xml><ToUserName>gh_1</ToUserName><Encrypt>x</Encrypt></xml>`, "encrypted"},
		{"nothing", ``, "empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if e, err := Parse([]byte(tt.body)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, %v, want %q", e, err, tt.want)
			}
		})
	}
}

// Equal keys are one push delivered again, different keys are two pushes.
func TestKey(t *testing.T) {
	message := func(to, from, id, content string) string {
		return `{"ToUserName":"` + to + `","FromUserName":"` + from + `","CreateTime":1408090502,"MsgType":"text","MsgId":` + id + `,"Content":"` + content + `"}`
	}
	click := push("CLICK", "<EventKey>a</EventKey>")
	for _, tt := range []struct {
		name, one, two string
		equal          bool
	}{
		{"the same message", message("gh_1", "o1", "7", "x"), message("gh_1", "o1", "7", "x"), true},
		{"MsgId counts, not content or its form", message("gh_1", "o1", "7", "x"), message("gh_1", "o1", `"7"`, "y"), true},
		{"another MsgId", message("gh_1", "o1", "7", "x"), message("gh_1", "o1", "8", "x"), false},
		{"another follower", message("gh_1", "o1", "7", "x"), message("gh_1", "o2", "7", "x"), false},
		{"another account", message("gh_1", "o1", "7", "x"), message("gh_2", "o1", "7", "x"), false},
		{"the same letters, cut elsewhere", message("gh_1", "1o", "7", "x"), message("gh_11", "o", "7", "x"), false},
		{"messages without MsgId differ by body", message("gh_1", "o1", "0", "x"), message("gh_1", "o1", "0", "y"), false},
		{"the same event", click, click, true},
		{"another EventKey in the same second", click, push("CLICK", "<EventKey>b</EventKey>"), false},
		{"another Event in the same second", click, push("VIEW", "<EventKey>a</EventKey>"), false},
		{"another second", click, strings.Replace(click, "1408090502", "1408090503", 1), false},
		{"another field", click, push("CLICK", "<EventKey>a</EventKey><More>1</More>"), false},
		{"the same job for two followers", push("TEMPLATESENDJOBFINISH", "<MsgID>1</MsgID>"), strings.Replace(push("TEMPLATESENDJOBFINISH", "<MsgID>1</MsgID>"), "oUser1", "oUser2", 1), false},
		{"the same job, another status", push("TEMPLATESENDJOBFINISH", "<MsgID>1</MsgID><Status>success</Status>"), push("TEMPLATESENDJOBFINISH", "<MsgID>1</MsgID><Status>failed</Status>"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			one, two := must(Parse([]byte(tt.one))).Key(), must(Parse([]byte(tt.two))).Key()
			if (one == two) != tt.equal || len(one) != 32 {
				t.Errorf("%s and %s", one, two)
			}
		})
	}
}

// However an event is printed or logged, it shows neither what the follower
// wrote nor a whole openid.
func TestPrintedEventsKeepSecrets(t *testing.T) {
	e := must(Parse([]byte(textPush)))
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("event", "event", e)
	for how, text := range map[string]string{
		"%v": fmt.Sprintf("%v", e), "%+v": fmt.Sprintf("%+v", e), "%s": fmt.Sprintf("%s", e), "slog": log.String(),
	} {
		if strings.Contains(text, "this is a test") || strings.Contains(text, "oABCD1234567890abcdefghijklm") || !strings.Contains(text, "text") {
			t.Errorf("%s: %s", how, text)
		}
	}
	if got := e.(TextMessage).String(); got != `"text" from "oABC…jklm" at 2012-09-28T11:31:00Z` {
		t.Error(got)
	}
}
