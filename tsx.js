import './loader/index.js'
