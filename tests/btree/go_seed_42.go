// Prints the first 607 numbers of Go's math/rand seeded with 42, from which all later ones follow
// (go_random.py), and a digest of what example 45 makes of them, which go_random.py must reproduce.
//
//	GODEBUG=randseednop=0 go run go_seed_42.go > go_seed_42.txt
package main

import (
	"crypto/sha256"
	"fmt"
	"math/rand"
)

func main() {
	source := rand.New(rand.NewSource(42))
	for i := 0; i < 607; i++ {
		fmt.Printf("%016x\n", source.Uint64())
	}

	rand.Seed(42) // from here on the lines of example 45
	statuses := []string{"pending", "complete", "failed"}
	digest := sha256.New()
	twelve, range11 := 0, 0
	for i := 0; i < 100000; i++ {
		row := map[string]interface{}{
			"row_id":  i,
			"user_id": rand.Intn(10000) + 1,
			"amount":  10.0 + rand.Float64()*490.0,
			"status":  statuses[rand.Intn(3)],
		}
		fmt.Fprintf(digest, "%d %d %.17g %s\n", row["row_id"], row["user_id"], row["amount"], row["status"])
		if u := row["user_id"].(int); u == 5000 {
			twelve++
		} else if u >= 4000 && u <= 4010 {
			range11++
		}
	}
	fmt.Printf("sha256 %x\n", digest.Sum(nil))
	fmt.Printf("user 5000: %d rows, users 4000 to 4010: %d rows\n", twelve, range11)
}
