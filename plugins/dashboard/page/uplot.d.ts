// The dashboard serves the package's module beside these files, as uplot.js.
export { default } from 'uplot'
