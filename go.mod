module github.com/kefu-go/kefu

go 1.26
