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

func textOfLength(length, most time.Duration) (en, zh string) {
	return fmt.Sprintf("it plays for %v; at most %v go", length.Round(time.Second/10), most),
		fmt.Sprintf("时长 %v；最多 %v", length.Round(time.Second/10), most)
}
