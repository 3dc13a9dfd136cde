// Package report makes of measured figures what people look at: medians and their spread,
// tables in Markdown and HTML, charts in SVG, and one page with all of it.
package report
