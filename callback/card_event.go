package callback

import (
	"time"
)

// Cards and coupons (卡券); FromUserName is the holder.
type (
	UserGetCardEvent struct {
		Header
		Card
		IsGiveByFriend      bool
		FriendUserName      string
		OldUserCardCode     string
		OuterID             string
		OuterStr            string
		IsRestoreMemberCard bool
		IsRecommendByFriend bool
	}
	UserGiftingCardEvent struct {
		Header
		Card
		IsReturnBack   bool
		FriendUserName string
		IsChatRoom     bool
	}
	UserDelCardEvent struct {
		Header
		Card
	}
	UserConsumeCardEvent struct {
		Header
		Card
		ConsumeSource string
		LocationName  string
		StaffOpenID   string
		VerifyCode    string
		RemarkAmount  string
		OuterStr      string
	}
	UserViewCardEvent struct {
		Header
		Card
		OuterStr string
	}
	UserPayFromPayCellEvent struct {
		Header
		Card
		TransID     string
		LocationID  string
		Fee         int64 // 分, hundredths of a yuan, as is OriginalFee
		OriginalFee int64
	}
	UserEnterSessionFromCardEvent struct {
		Header
		Card
	}
	CardPassCheckEvent struct {
		Header
		Card
	}
	CardNotPassCheckEvent struct {
		Header
		Card
		RefuseReason string
	}
	UpdateMemberCardEvent struct {
		Header
		Card
		ModifyBonus   int64
		ModifyBalance int64
	}
	CardSkuRemindEvent struct {
		Header
		Card
		Detail string
	}
	CardPayOrderEvent struct {
		Header
		OrderID             string
		Status              string
		CreateOrderTime     time.Time
		PayFinishTime       time.Time
		Desc                string
		FreeCoinCount       int64
		PayCoinCount        int64
		RefundFreeCoinCount int64
		RefundPayCoinCount  int64
		OrderType           string
		Memo                string
		ReceiptInfo         string
	}
	SubmitMembercardUserInfoEvent struct {
		Header
		Card
	}
)

// A Card is a kind of card and, where there is one, the holder's own code.
type Card struct {
	CardID       string
	UserCardCode string
}

// cardEvent reads an event of cards and coupons; nil if name is none of those.
func (d document) cardEvent(h Header, name string) Event {
	card := Card{d.text("CardId"), d.text("UserCardCode")}
	switch name {
	case "user_get_card":
		return UserGetCardEvent{h, card, d.bool("IsGiveByFriend"), d.text("FriendUserName"), d.text("OldUserCardCode"), d.text("OuterId"), d.text("OuterStr"), d.bool("IsRestoreMemberCard"), d.bool("IsRecommendByFriend")}
	case "user_gifting_card":
		return UserGiftingCardEvent{h, card, d.bool("IsReturnBack"), d.text("FriendUserName"), d.bool("IsChatRoom")}
	case "user_del_card":
		return UserDelCardEvent{h, card}
	case "user_consume_card":
		return UserConsumeCardEvent{h, card, d.text("ConsumeSource"), d.text("LocationName"), d.text("StaffOpenId"), d.text("VerifyCode"), d.text("RemarkAmount"), d.text("OuterStr")}
	case "user_view_card":
		return UserViewCardEvent{h, card, d.text("OuterStr")}
	case "user_pay_from_pay_cell":
		return UserPayFromPayCellEvent{h, card, d.text("TransId"), d.text("LocationId"), d.int("Fee"), d.int("OriginalFee")}
	case "user_enter_session_from_card":
		return UserEnterSessionFromCardEvent{h, card}
	case "card_pass_check":
		return CardPassCheckEvent{h, card}
	case "card_not_pass_check":
		return CardNotPassCheckEvent{h, card, d.text("RefuseReason")}
	case "update_member_card":
		return UpdateMemberCardEvent{h, card, d.int("ModifyBonus"), d.int("ModifyBalance")}
	case "card_sku_remind":
		return CardSkuRemindEvent{h, card, d.text("Detail")}
	case "card_pay_order":
		return CardPayOrderEvent{h, d.text("OrderId"), d.text("Status"), d.time("CreateOrderTime"), d.time("PayFinishTime"), d.text("Desc"),
			d.int("FreeCoinCount"), d.int("PayCoinCount"), d.int("RefundFreeCoinCount"), d.int("RefundPayCoinCount"), d.text("OrderType"), d.text("Memo"), d.text("ReceiptInfo")}
	case "submit_membercard_user_info":
		return SubmitMembercardUserInfoEvent{h, card}
	}
	return nil
}
