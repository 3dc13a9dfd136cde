package bodies

import (
	"sort"
	"strings"
)

// common are words in the order in which they are frequent.
var common = strings.Fields(`the of and to a in is that it for was on are as with they at be this from have or by one
had not but what all were when we there can an your which their if will each about how up out them then she many some
so these would other into has more her two like him see time could no make than first been its who now people my made
over did down only way find use may water long little very after words called just where most know`)

// stems are what all other words are made of.
var stems = strings.Fields(`work write plan market report travel garden paint open build deploy cache server design
train light record travel reason govern help learn teach listen publish review order visit change season weather
kitchen summer winter village mountain river bridge market engine motor signal number figure answer question letter
paper print press camera picture colour shadow mirror window door garden flower forest animal horse fish bird insect
doctor patient health hospital medicine science theory method sample measure weight length pressure metal silver
copper iron carbon energy power current voltage circuit network packet router client request response header body
version release branch commit merge test check verify monitor alert budget price cost invoice payment account credit
bank trade import export company office manager director member partner customer support service product brand
campaign story chapter author reader library journal article column editor critic music concert singer guitar piano
drum dance theatre actor film screen football tennis player coach league season record runner bicycle race medal
school student lecture course exam degree college research project funding grant result history empire castle king
queen soldier battle treaty border nation citizen vote party minister senate court judge lawyer police crime prison
city street station airport harbour ship captain sailor island ocean coast storm cloud thunder rain snow frost heat
bread butter cheese sugar coffee orange apple lemon potato onion pepper salt recipe dinner lunch guest hotel table
chair carpet curtain lamp candle glass bottle basket ladder hammer needle thread cotton leather jacket button pocket
child parent brother sister cousin friend neighbour stranger crowd language grammar accent gesture smile laugh silence
memory dream idea notion belief doubt fear anger pride courage wisdom honour luck fortune danger safety habit duty
effort talent skill craft pattern corner surface layer center margin detail fragment object vessel balance movement
rhythm speed distance direction journey return arrive depart follow gather scatter collect divide combine compare
describe explain discuss argue agree refuse accept reject allow forbid protect attack defend escape survive recover
improve reduce increase extend limit repair replace remove create destroy invent discover explore observe notice`)

// vocabulary is some thousand words, and ranks[i] is the sum of the weights of the first
// i+1: the word of rank r has the weight 1/r (Zipf's law).
var (
	vocabulary = makeVocabulary()
	ranks      = makeRanks(len(vocabulary))
)

func makeVocabulary() []string {
	words := append([]string(nil), common...)
	seen := map[string]bool{}
	for _, w := range words {
		seen[w] = true
	}
	for _, suffix := range []string{"", "s", "ing", "ed", "er", "able", "ment", "less", "ward"} {
		// Of each suffix another order, so that no stem stays frequent.
		for i := range stems {
			stem := stems[(i*89+len(words))%len(stems)]
			if suffix != "" && strings.ContainsRune("aeio", rune(suffix[0])) {
				stem = strings.TrimSuffix(stem, "e")
			}
			if w := stem + suffix; !seen[w] {
				seen[w] = true
				words = append(words, w)
			}
		}
	}
	return words
}

func makeRanks(n int) []int {
	sums, sum := make([]int, n), 0
	for i := range sums {
		sum += 1 << 30 / (i + 2)
		sums[i] = sum
	}
	return sums
}

// word is one of the vocabulary.
func (r *random) word() string {
	return vocabulary[sort.SearchInts(ranks, r.below(ranks[len(ranks)-1])+1)]
}

// stem is a word that has a meaning, as titles and names have them.
func (r *random) stem() string { return stems[r.below(len(stems))] }

// of is one of the words.
func (r *random) of(words []string) string { return words[r.below(len(words))] }

var (
	firstNames = strings.Fields(`Anna Ben Carla David Elena Farid Grace Hugo Ines Jonas Keiko Liam Maria Noah Olga Pedro
Quinn Rosa Samir Tessa Uma Viktor Wanda Xavier Yara Zoe Amara Bruno Chiara Dmitri Esther Felix`)
	lastNames = strings.Fields(`Almeida Bauer Chen Dubois Eriksen Fischer Garcia Haddad Ivanov Jensen Kowalski Larsen
Moreau Nakamura Okafor Petrov Quintero Rossi Schmidt Tanaka Ueda Virtanen Weber Xu Yilmaz Zhang Andersson Brandt
Costa Diallo Engel Fontaine`)
)

// title is some words that begin with a capital.
func (r *random) title(words int) string {
	var s []string
	for range words {
		w := r.stem()
		s = append(s, strings.ToUpper(w[:1])+w[1:])
	}
	return strings.Join(s, " ")
}

// slug is a title as it stands in a URL.
func slug(title string) string { return strings.ToLower(strings.ReplaceAll(title, " ", "-")) }

// prose writes sentences of at least n bytes, and at least one word.
func (w *writer) prose(n int) {
	end := w.Len() + n
	for first := true; first || w.Len() < end; first = false {
		if !first {
			w.WriteByte(' ')
		}
		words := 6 + w.below(14)
		for i := range words {
			s := w.word()
			if i == 0 {
				s = strings.ToUpper(s[:1]) + s[1:]
			} else {
				w.WriteByte(' ')
			}
			w.WriteString(s)
			if w.Len() >= end {
				break
			}
			if i < words-1 && w.oneIn(9) {
				w.WriteByte(',')
			}
		}
		w.WriteByte('.')
	}
}
