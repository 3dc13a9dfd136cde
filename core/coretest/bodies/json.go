package bodies

import (
	"fmt"
	"strings"
	"time"
)

// JSON is what an API answers for a list of posts, the newest first, as UTF-8 without
// spaces: about n bytes.
func JSON(n int) []byte {
	w := newWriter(n)
	w.WriteString(`{"data":[`)
	tail := `],"links":{"self":"https://api.example.com/v1/posts?page=1","next":"https://api.example.com/v1/posts?page=2"},"meta":{"page":1,"total":4096}}`
	if n < 2000 {
		tail = `]}`
	}
	const most = 1300 // of a post
	at := time.Date(2026, 10, 12, 18, 14, 22, 0, time.UTC)
	for id := 482117; ; {
		last := w.room(tail) < 2*most
		w.post(id, at)
		if last {
			w.prose(w.room(tail) - len(`"}`))
			w.WriteString(`"}` + tail)
			return w.Bytes()
		}
		w.prose(60 + w.below(140))
		w.WriteString(`"},`)
		id -= 1 + w.below(9)
		at = at.Add(-time.Duration(100+w.below(20000)) * time.Second)
	}
}

// post writes all of one up to its text.
func (w *writer) post(id int, at time.Time) {
	title := w.title(3 + w.below(4))
	slug := slug(title)
	fmt.Fprintf(w, `{"id":%d,"uuid":"`, id)
	w.uuid()
	fmt.Fprintf(w, `","type":"post","status":"published","title":"%s","slug":"%s","url":"https://www.example.com/blog/%s",`,
		title, slug, slug)
	fmt.Fprintf(w, `"comments_url":"https://api.example.com/v1/posts/%d/comments","created_at":"%s","published_at":"%s","updated_at":"%s","deleted_at":null,`,
		id, at.Add(-time.Duration(w.below(90000))*time.Second).Format(time.RFC3339), at.Format(time.RFC3339),
		at.Add(time.Duration(w.below(90000))*time.Second).Format(time.RFC3339))
	a := w.author()
	fmt.Fprintf(w, `"author":{"id":%d,"name":"%s","username":"%s","url":"https://api.example.com/v1/users/%d","avatar_url":"https://cdn.example.com/avatars/%d.jpg?s=96","role":"%s","verified":%t},`,
		a.id, a.name, a.username, a.id, a.id, a.role, a.verified)
	fmt.Fprintf(w, `"tags":["%s","%s"],"views":%d,"likes":%d,"comments_count":%d,"score":0.%04d,"reading_time":%d,"featured":%t,"pinned":false,"sponsored":false,"language":"en","license":"CC-BY-4.0",`,
		w.of(topics), w.of(topics), w.below(90000), w.below(4000), w.below(200), w.below(10000), 1+w.below(12), w.oneIn(8))
	if w.oneIn(3) {
		fmt.Fprintf(w, `"location":{"lat":%d.%05d,"lon":%d.%05d},`, w.below(180)-90, w.below(100000), w.below(360)-180, w.below(100000))
	} else {
		w.WriteString(`"location":null,`)
	}
	fmt.Fprintf(w, `"cover":{"url":"https://cdn.example.com/images/%d/cover.jpg","width":1200,"height":630,"alt":null,"hash":"`, id)
	w.hex(16)
	w.WriteString(`"},"excerpt":"`)
}

// author is one of the few who write for a blog.
type author struct {
	id                   int
	name, username, role string
	verified             bool
}

// author gives one: some write more than others.
func (w *writer) author() author {
	n := min(w.below(len(firstNames)), w.below(len(firstNames)))
	first, last := firstNames[n], lastNames[(n*7+3)%len(lastNames)]
	return author{
		id: 1000 + n*37, name: first + " " + last, username: strings.ToLower(first[:1] + last),
		role: []string{"editor", "author", "author", "guest"}[n%4], verified: n%3 != 0,
	}
}

// topics are what posts are tagged with.
var topics = strings.Fields(`architecture business cooking culture databases design economy education engineering
environment fashion film finance gardening health history hiking law literature music photography politics
programming science security society sports technology theatre travel`)
