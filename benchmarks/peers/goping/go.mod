module goping

go 1.21
