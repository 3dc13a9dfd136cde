package bodies

import (
	"fmt"
	"strings"
	"time"
)

// whole is the size from which a page has a navigation and articles with all that belongs
// to them, and twice of it that from which it has a footer and a script.
const whole = 4000

// HTML is the front page of a blog, as UTF-8: about n bytes.
func HTML(n int) []byte {
	w := newWriter(n)
	w.WriteString(`<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>The Daily Example</title>
`)
	if n >= whole {
		w.head()
	}
	w.WriteString("  <link rel=\"stylesheet\" href=\"/assets/site-")
	w.hex(20)
	w.WriteString(".css\">\n</head>\n<body class=\"page page--home\">\n")
	if n >= whole {
		w.nav()
	}
	w.WriteString("  <main id=\"content\" class=\"container mx-auto px-4\">\n")
	tail := "  </main>\n</body>\n</html>\n"
	if n >= 2*whole {
		tail = "  </main>\n" + footer + w.script() + "</body>\n</html>\n"
	}
	const most = 2600 // of an article
	at := time.Date(2026, 10, 12, 18, 14, 0, 0, time.UTC)
	for id := 482117; ; {
		last := n < whole || w.room(tail) < 2*most
		if n < whole {
			w.WriteString("    <article class=\"card\">\n      <p>")
			w.prose(w.room("</p>\n    </article>\n" + tail))
			w.WriteString("</p>\n    </article>\n")
		} else {
			w.article(id, at, func(end string) int {
				if last {
					return w.room(end + tail)
				}
				return 120 + w.below(220)
			})
		}
		if last {
			w.WriteString(tail)
			return w.Bytes()
		}
		id -= 1 + w.below(9)
		at = at.Add(-time.Duration(2+w.below(300)) * time.Minute)
	}
}

func (w *writer) head() {
	w.WriteString(`  <meta name="description" content="`)
	w.prose(120)
	w.WriteString("\">\n  <meta property=\"og:type\" content=\"website\">\n  <meta property=\"og:url\" content=\"https://www.example.com/\">\n  <meta property=\"og:image\" content=\"https://cdn.example.com/images/cover-")
	w.hex(12)
	w.WriteString(".jpg\">\n  <link rel=\"canonical\" href=\"https://www.example.com/\">\n  <link rel=\"icon\" href=\"/favicon.ico\">\n")
}

func (w *writer) nav() {
	w.WriteString("  <nav class=\"navbar sticky top-0\" aria-label=\"Main\">\n    <ul class=\"navbar__list\">\n")
	for _, t := range topics[:8] {
		fmt.Fprintf(w, "      <li class=\"navbar__item\"><a class=\"navbar__link\" href=\"/topics/%s\">%s</a></li>\n", t, strings.ToUpper(t[:1])+t[1:])
	}
	w.WriteString("    </ul>\n  </nav>\n")
}

// article writes one. The length of its text is asked when what is in front of it is
// written, with what will follow.
func (w *writer) article(id int, at time.Time, length func(end string) int) {
	title, a, topic := w.title(3+w.below(4)), w.author(), w.of(topics)
	slug := slug(title)
	fmt.Fprintf(w, "    <article class=\"card card--%s mb-8\" id=\"post-%d\" data-id=\"", w.of([]string{"wide", "small", "small"}), id)
	w.hex(8)
	fmt.Fprintf(w, `">
      <header class="card__header">
        <a class="card__media" href="/blog/%s" tabindex="-1" aria-hidden="true">
          <img class="card__image" loading="lazy" src="https://cdn.example.com/images/%d/cover-640.jpg" srcset="https://cdn.example.com/images/%d/cover-640.jpg 640w, https://cdn.example.com/images/%d/cover-1280.jpg 1280w" width="640" height="336" alt="">
        </a>
        <h2 class="card__title text-xl font-semibold"><a class="link link--plain" href="/blog/%s">%s</a></h2>
        <p class="card__meta text-sm text-gray-600">By <a class="link" href="/authors/%s" rel="author">%s</a> in <a class="link" href="/topics/%s">%s</a>, <time datetime="%s">%s</time></p>
      </header>
      <p class="card__text">`,
		slug, id, id, id, slug, title, a.username, a.name, topic, topic, at.Format(time.RFC3339), at.Format("2 January 2006"))
	end := fmt.Sprintf(`</p>
      <footer class="card__footer flex items-center justify-between">
        <a class="button button--primary" href="/blog/%s">Read more<span class="sr-only"> about %s</span></a>
        <button class="button button--icon" type="button" data-action="like" data-post="%d"><svg class="icon icon--heart" width="16" height="16" aria-hidden="true"><use href="#icon-heart"></use></svg><span class="count">%d</span></button>
        <a class="button button--icon" href="/blog/%s#comments"><svg class="icon icon--comment" width="16" height="16" aria-hidden="true"><use href="#icon-comment"></use></svg><span class="count">%d</span></a>
      </footer>
    </article>
`, slug, title, id, w.below(4000), slug, w.below(200))
	w.prose(length(end))
	w.WriteString(end)
}

const footer = `  <footer class="footer mt-16 py-8 text-sm">
    <ul class="footer__list">
      <li><a href="/about">About us</a></li>
      <li><a href="/contact">Contact</a></li>
      <li><a href="/privacy">Privacy policy</a></li>
      <li><a href="/terms">Terms of use</a></li>
    </ul>
    <p>&copy; 2026 The Daily Example. All rights reserved.</p>
  </footer>
`

func (w *writer) script() string {
	return fmt.Sprintf(`  <script>
    window.__STATE__ = {"build": "%016x", "user": null, "csrf": "%016x%016x", "features": {"comments": true, "dark": false, "search": true}};
    (function (d) {
      var toggle = d.querySelector('.navbar__toggle');
      if (toggle) {
        toggle.addEventListener('click', function (event) {
          event.preventDefault();
          d.body.classList.toggle('is-open');
        });
      }
      d.querySelectorAll('img[loading=lazy]').forEach(function (img) {
        img.addEventListener('load', function () { img.classList.add('is-loaded'); });
      });
    })(document);
  </script>
`, w.next(), w.next(), w.next())
}
