package assets

import (
	"fmt"
	"strings"
	"time"
)

// What people are told about a file, in English and in Chinese.

func textOfFormat(format string, taken []string) (en, zh string) {
	if format == "" {
		return "nobody knows its format, or it broke off; taken are " + strings.Join(taken, ", "),
			"无法识别格式，或文件不完整；只收 " + strings.Join(taken, "、")
	}
	return fmt.Sprintf("it is %s; taken are %s", format, strings.Join(taken, ", ")),
		fmt.Sprintf("格式为 %s；只收 %s", format, strings.Join(taken, "、"))
}

func textOfSize(size, most int64) (en, zh string) {
	return fmt.Sprintf("it has %d bytes; at most %d go", size, most), fmt.Sprintf("有 %d 字节；最多 %d", size, most)
}

func textOfMost(most int64) (en, zh string) {
	return fmt.Sprintf("it has more than %d bytes", most), fmt.Sprintf("超过 %d 字节", most)
}

func textOfLength(length, most time.Duration) (en, zh string) {
	return fmt.Sprintf("it plays for %v; at most %v go", length.Round(time.Second/10), most),
		fmt.Sprintf("时长 %v；最多 %v", length.Round(time.Second/10), most)
}

func textOfRoom(account string, used, room int64) (en, zh string) {
	percent, mib := used*100/room, room>>20
	return fmt.Sprintf("%s: files take %d %% of %d MiB; when that is full, nothing that followers send is kept, and no other file is taken. "+
			"Delete what is not needed (GET /v1/assets lists it, kefu media delete), or give more room (kefu serve --asset-room)", account, percent, mib),
		fmt.Sprintf("%s：素材已占用 %d MiB 空间的 %d %%；用完后，粉丝发来的文件不再保存，也收不下其他文件。"+
			"请删除不再需要的素材（GET /v1/assets 可列出，kefu media delete），或增大空间（kefu serve --asset-room）", account, mib, percent)
}
